//! Byte arrays whose lengths are written as differences, looked at before they are decoded.
//!
//! `parquet` takes memory for as many lengths as a page says there are (`array_reader/byte_array.rs`, `ByteArrayDecoderDeltaLength`;
//! `arrow/decoder/delta_byte_array.rs`, version 60), and equal ones take no bytes in it (`Encodings.md` of the format,
//! `DELTA_BINARY_PACKED`).

use parquet::basic::Encoding;
use parquet::column::page::Page;
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::ColumnDescriptor;

use super::thrift::number;

/// Values of a page that are read; writers begin another one long before.
const MOST_VALUES: u64 = 1 << 24;

/// Looks at the lengths of a page, if it has such.
pub(super) fn look_at(page: &Page, column: &ColumnDescriptor) -> Result<()> {
    let lists = match page.encoding() {
        Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
        // What a value begins with as the one before it does, and the rest.
        Encoding::DELTA_BYTE_ARRAY => 2,
        _ => return Ok(()),
    };
    let mut left = values(page, column).ok_or_else(|| fault("its levels are cut short"))?;
    for _ in 0..lists {
        let lengths = pass(&mut left).map_err(|what| fault(&format!("the list of its lengths {what}")))?;
        if lengths > MOST_VALUES {
            return Err(fault(&format!("it says that it has {lengths} values, at most {MOST_VALUES} are read")));
        }
    }
    Ok(())
}

fn fault(what: &str) -> ParquetError {
    ParquetError::General(format!("a page cannot be read: {what}"))
}

/// What stands behind the levels of a page.
fn values<'a>(page: &'a Page, column: &ColumnDescriptor) -> Option<&'a [u8]> {
    match page {
        Page::DataPage { buf, num_values, def_level_encoding, rep_level_encoding, .. } => {
            let levels = [(column.max_rep_level(), rep_level_encoding), (column.max_def_level(), def_level_encoding)];
            let is_there = |(most, _): &(i16, _)| *most > 0;
            levels.into_iter().filter(is_there).try_fold(&buf[..], |left, (most, encoding)| {
                left.get(level_bytes(left, u64::from(*num_values), most, *encoding)?..)
            })
        }
        Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
            buf.get((*def_levels_byte_len as usize).checked_add(*rep_levels_byte_len as usize)?..)
        }
        Page::DictionaryPage { .. } => None,
    }
}

/// Bytes of one kind of levels at the front.
fn level_bytes(left: &[u8], levels: u64, most: i16, encoding: Encoding) -> Option<usize> {
    if encoding == Encoding::RLE {
        let length = u32::from_le_bytes(left.first_chunk().copied()?);
        return (length as usize).checked_add(4);
    }
    // Packed as bits, of old writers.
    let bits = u64::from(i16::BITS - most.leading_zeros());
    usize::try_from((levels * bits).div_ceil(8)).ok()
}

/// Passes over a list of numbers; returns how many there are.
fn pass(left: &mut &[u8]) -> std::result::Result<u64, &'static str> {
    let [block_values, blocks, many] = [number(left)?, number(left)?, number(left)?];
    let _first = number(left)?;
    if many > MOST_VALUES {
        return Ok(many);
    }
    let values = block_values.checked_div(blocks).ok_or("has blocks of no parts")?;
    let mut to_come = many.saturating_sub(1);
    while to_come > 0 {
        let _least = number(left)?;
        let (bits, rest) = left.split_at_checked(blocks as usize).ok_or("is cut short")?;
        *left = rest;
        for &bits in bits {
            if to_come > 0 {
                let bytes = u64::from(bits).checked_mul(values).ok_or("has a block beyond all blocks")? / 8;
                *left = left.get(bytes as usize..).ok_or("is cut short")?;
                to_come = to_come.saturating_sub(values);
            }
        }
        if values == 0 {
            return Err("has parts of no values");
        }
    }
    Ok(many)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use parquet::schema::parser::parse_message_type;
    use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

    use super::*;

    /// Many numbers, as they are written where so many of them are told from the first by so many bits.
    fn numbers(many: u64, bits: u8) -> Vec<u8> {
        let mut written = vec![0x80, 0x01, 4];
        let mut left = many;
        while left > 0x7f {
            written.push(left as u8 | 0x80);
            left >>= 7;
        }
        written.extend([left as u8, 3]);
        for _ in 0..many.saturating_sub(1).min(1000).div_ceil(128) {
            // Parts behind the last value have any number of bits, and nothing is written for them.
            written.extend([0, bits, bits, 77, 77]);
            written.extend(vec![0; 64 / 8 * usize::from(bits)]);
        }
        written
    }

    fn columns() -> [ColumnDescPtr; 3] {
        ["required binary a", "optional binary a", "repeated binary a"].map(|column| {
            let schema = parse_message_type(&format!("message m {{ {column}; }}")).expect("a schema");
            SchemaDescriptor::new(Arc::new(schema)).column(0)
        })
    }

    /// Pages of both kinds with these bytes behind levels of eight bytes for a kind.
    fn pages(column: &ColumnDescriptor, encoding: Encoding, values: &[u8]) -> [Page; 2] {
        let kinds = usize::from(column.max_rep_level() > 0) + usize::from(column.max_def_level() > 0);
        let buf = Bytes::from([[4, 0, 0, 0, 9, 9, 9, 9].repeat(kinds), values.to_vec()].concat());
        let (rep_level_encoding, def_level_encoding) = (Encoding::RLE, Encoding::RLE);
        let of_old = Page::DataPage {
            buf: buf.clone(),
            num_values: 60,
            encoding,
            def_level_encoding,
            rep_level_encoding,
            statistics: None,
        };
        let of_new = Page::DataPageV2 {
            buf,
            num_values: 60,
            encoding,
            num_nulls: 0,
            num_rows: 60,
            def_levels_byte_len: if column.max_def_level() > 0 { 8 } else { 0 },
            rep_levels_byte_len: if column.max_rep_level() > 0 { 8 } else { 0 },
            is_compressed: false,
            statistics: None,
        };
        [of_old, of_new]
    }

    #[test]
    fn lengths_are_counted_wherever_they_stand() {
        let (few, many) = (numbers(60, 5), numbers(1 << 40, 0));
        for column in columns() {
            let said = |encoding, values: &[u8]| {
                pages(&column, encoding, values).map(|page| look_at(&page, &column).map_err(|error| error.to_string()))
            };
            let (one, two) = (Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY);
            let both = [&few[..], &few, b"text"].concat();
            assert_eq!((said(one, &both), said(two, &both)), ([Ok(()), Ok(())], [Ok(()), Ok(())]));
            let (first, second) = ([&many[..], &few].concat(), [&few[..], &many].concat());
            for wrong in [said(one, &first), said(two, &first), said(two, &second)].concat() {
                assert!(wrong.expect_err("too many").contains("it says that it has 1099511627776 values"));
            }
            assert_eq!(said(one, &second), [Ok(()), Ok(())], "what is behind is text");
            for cut in [said(one, &few[..few.len() - 1]), said(two, &few), said(two, &[])].concat() {
                assert!(cut.expect_err("cut").contains("is cut short"));
            }
            assert_eq!(said(Encoding::PLAIN, &[]), [Ok(()), Ok(())]);
        }
    }

    #[test]
    fn levels_that_are_packed_as_bits_are_passed_over() {
        let [_, optional, repeated] = columns();
        for (column, bytes) in [(optional, 8), (repeated, 16)] {
            let bits = |lengths: Vec<u8>| {
                #[expect(deprecated, reason = "old writers have it")]
                let level_encoding = Encoding::BIT_PACKED;
                Page::DataPage {
                    buf: Bytes::from([vec![0xff; bytes], lengths].concat()),
                    num_values: 60,
                    encoding: Encoding::DELTA_LENGTH_BYTE_ARRAY,
                    def_level_encoding: level_encoding,
                    rep_level_encoding: level_encoding,
                    statistics: None,
                }
            };
            assert!(look_at(&bits(numbers(60, 5)), &column).is_ok());
            assert!(look_at(&bits(numbers(1 << 25, 0)), &column).is_err());
        }
    }

    #[test]
    fn few_numbers_have_no_blocks() {
        for many in [0, 1] {
            let written = [numbers(many, 5), vec![1, 2]].concat();
            let mut left = &written[..];
            assert_eq!((pass(&mut left), left), (Ok(many), &[1, 2][..]));
        }
    }
}
