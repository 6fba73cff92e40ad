//! Sizes of memory and files, for people.

/// `1.5 GiB`; in MiB where that is a small number.
pub(crate) fn gibibytes(bytes: u64) -> String {
    let gibibytes = bytes as f64 / f64::from(1 << 30);
    if gibibytes < 0.1 { format!("{:.1} MiB", gibibytes * 1024.0) } else { format!("{gibibytes:.1} GiB") }
}

/// `1536.0 MiB`, in a table of many.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
