//! What Parquet writes in Thrift's compact protocol, looked at before `parquet` reads it.
//!
//! What `parquet` does not know it passes over in as many steps as a list is said to be long, and for booleans, which it takes for
//! nothing, without a look at what is left (`parquet_thrift.rs`, `skip_till_depth`, version 60): six bytes are two thousand million steps,
//! and lists may lie within lists. For an offset index it takes memory for as many pages as the index says there are
//! (`offset_index.rs`, `try_from_fast`), for a group of columns as for as many as it says that it has (`schema/types.rs`,
//! `schema_from_array_helper`), and it goes into columns within columns until its stack ends. No file has such a list of booleans (`parquet.thrift`), and none is shorter than its lists are
//! long, so one that says so is refused. So is one that says of a known field that it is something else: it would be read as what it
//! should be, and what is behind it is not what it seems.

pub(super) mod fields;
mod walk;

pub(super) use walk::{CUT_SHORT, number, walk};

use fields::Fields;
use parquet::errors::{ParquetError, Result};

/// Looks at the struct that `bytes` begin with, which is the file's `what`.
pub(super) fn look_at(what: &str, bytes: &[u8], fields: &Fields) -> Result<()> {
    walk(bytes, fields).map_err(|fault| ParquetError::General(format!("its {what} {fault}")))
}
