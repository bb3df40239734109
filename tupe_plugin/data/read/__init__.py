"""From sources to documents and rows: text, dumps, tables and JSON, plain or compressed."""
