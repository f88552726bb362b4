//! Row by row.
