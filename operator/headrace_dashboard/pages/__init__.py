"""Data to HTML: each module is a page or a part of one. Pure: the present time, rights and data are arguments."""
