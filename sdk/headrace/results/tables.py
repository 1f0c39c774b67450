"""
Tables as Arrow streams or Parquet: of pyarrow, pandas and polars, each coming back as what it was.

Nothing is imported for values of other kinds: whoever holds a DataFrame has loaded its library already.
"""

from __future__ import annotations

import sys
from importlib import import_module
from io import BytesIO
from typing import Any, Final

from headrace.errors import UsageError

ARROW: Final = "arrow"
PARQUET: Final = "parquet"
PARQUET_COMPRESSION: Final = "zstd"

PANDAS: Final = "pandas.DataFrame"
POLARS: Final = "polars.DataFrame"
TABLE: Final = "pyarrow.Table"
BATCH: Final = "pyarrow.RecordBatch"
KINDS: Final = (PANDAS, POLARS, TABLE, BATCH)


def kind_of(value: Any) -> str | None:
    """Which of KINDS the value is; None for all else, subclasses among it."""
    for kind in KINDS:
        module, _, name = kind.partition(".")
        if module in sys.modules and type(value) is getattr(sys.modules[module], name, None):
            return kind
    return None


def is_kept_whole(value: Any, kind: str) -> bool:
    """
    Whether Arrow is known to give everything back.

    Of pandas, it does not keep objects in columns, names of columns that are no text, frequencies of an index, attrs.
    """
    if kind != PANDAS:
        return True
    pandas = sys.modules["pandas"]
    plain = all(type(name) is str for name in value.columns) and value.columns.is_unique and not value.attrs
    simple = all(dtype.kind in "biufM" or isinstance(dtype, pandas.StringDtype) for dtype in value.dtypes)
    index = value.index
    numbered = type(index) is pandas.RangeIndex or (index.dtype.kind in "iuM" and getattr(index, "freq", None) is None)
    return bool(plain and simple and numbered)


def written(value: Any, kind: str, format_: str) -> bytes:
    """The table as ARROW (a stream of it) or PARQUET. Raises: ImportError, and what the library says of the value."""
    if kind == POLARS:
        if sys.modules["polars"].Object in value.dtypes:  # it would write what nobody can read
            raise TypeError("a column holds Python objects")
        file = BytesIO()
        if format_ == PARQUET:
            value.write_parquet(file, compression=PARQUET_COMPRESSION)
        else:
            value.write_ipc_stream(file)
        return file.getvalue()
    table = _as_table(value, kind)
    return _parquet(table) if format_ == PARQUET else _stream(table)


def read(data: bytes, kind: str, format_: str) -> Any:
    """The table that was written. Raises: UsageError: its library is missing here."""
    try:
        return _read_polars(data, format_) if kind == POLARS else _read(data, kind, format_)
    except ImportError as error:
        raise UsageError(
            f'the object is a {kind} as {format_}, and {error.name} is missing here; install "headrace[arrow]" and '
            f"{kind.partition('.')[0]}"
        ) from error


def _as_table(value: Any, kind: str) -> Any:
    pa = import_module("pyarrow")  # an extra, for those who have tables

    if kind == PANDAS:
        return pa.Table.from_pandas(value)
    return pa.Table.from_batches([value]) if kind == BATCH else value


def _parquet(table: Any) -> bytes:
    file = BytesIO()
    import_module("pyarrow.parquet").write_table(table, file, compression=PARQUET_COMPRESSION)
    return file.getvalue()


def _stream(table: Any) -> bytes:
    file = BytesIO()
    with import_module("pyarrow").ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    return file.getvalue()


def _read(data: bytes, kind: str, format_: str) -> Any:
    pa = import_module("pyarrow")
    if kind == PANDAS:
        import_module("pandas")  # pyarrow would not name what is missing
    if format_ == PARQUET:
        table = import_module("pyarrow.parquet").read_table(BytesIO(data))
    else:
        table = pa.ipc.open_stream(data).read_all()
    if kind == PANDAS:
        return table.to_pandas()
    return _batch(pa, table) if kind == BATCH else table


def _batch(pa: Any, table: Any) -> Any:
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _read_polars(data: bytes, format_: str) -> Any:
    polars = import_module("polars")
    return polars.read_parquet(BytesIO(data)) if format_ == PARQUET else polars.read_ipc_stream(BytesIO(data))
