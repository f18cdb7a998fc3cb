"""The formats that vector tables are kept in: one module per layout, one writer and one reader."""
