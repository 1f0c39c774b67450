"""One module a page: reads what it shows and hands it over to pages/; does what a button says."""
