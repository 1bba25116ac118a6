//! Rows: frame `r` of each chunk of a stripe, coded together.
