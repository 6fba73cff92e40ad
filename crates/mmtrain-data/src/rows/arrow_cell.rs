//! Arrow's columns as cells.
//!
//! Strings and bytes come in several layouts, lists and dictionaries too; they mean the same. Times are whole
//! numbers in the unit of the column.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, FieldRef, TimeUnit};

use crate::cell::Cell;
use crate::sample::Reject;

/// Characters of the kind of a column that are shown: that of nested columns says everything about all parts.
const SHOWN_KIND: usize = 200;

/// Whether values of this type become cells.
pub(crate) fn is_read(kind: &DataType) -> bool {
    use DataType as T;
    match kind {
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) | T::Map(item, _) => is_read(item.data_type()),
        T::Struct(fields) => fields.iter().all(|field| is_read(field.data_type())),
        T::Dictionary(_, values) => is_read(values),
        other => is_simple(other),
    }
}

/// The first of some columns that is not read.
pub(crate) fn unread<'a>(mut columns: impl Iterator<Item = &'a FieldRef>) -> Option<Reject> {
    let field = columns.find(|field| !is_read(field.data_type()))?;
    let kind: String = field.data_type().to_string().chars().take(SHOWN_KIND).collect();
    let detail = format!("column `{}` is of the kind `{kind}` and is not read", field.name());
    Some(Reject::new("rows_unread_column", detail))
}

fn is_simple(kind: &DataType) -> bool {
    use DataType as T;
    let is_text = matches!(kind, T::Utf8 | T::LargeUtf8 | T::Utf8View);
    let is_bytes = matches!(kind, T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_));
    let is_number = kind.is_integer() || matches!(kind, T::Float16 | T::Float32 | T::Float64);
    let is_time = matches!(kind, T::Date32 | T::Date64 | T::Timestamp(..));
    is_text || is_bytes || is_number || is_time || matches!(kind, T::Null | T::Boolean)
}

/// The values of all columns in `row`.
pub(crate) fn row_of(batch: &RecordBatch, row: usize) -> Cell {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    Cell::Struct(columns.map(|(field, column)| (field.name().clone(), cell_at(column, row))).collect())
}

/// The value of `column` in `row`.
fn cell_at(column: &ArrayRef, row: usize) -> Cell {
    use DataType as T;
    if column.is_null(row) {
        return Cell::Null;
    }
    match column.data_type() {
        T::Boolean => Cell::Bool(column.as_boolean().value(row)),
        T::Utf8 => text(column.as_string::<i32>().value(row)),
        T::LargeUtf8 => text(column.as_string::<i64>().value(row)),
        T::Utf8View => text(column.as_string_view().value(row)),
        T::Binary => bytes(column.as_binary::<i32>().value(row)),
        T::LargeBinary => bytes(column.as_binary::<i64>().value(row)),
        T::BinaryView => bytes(column.as_binary_view().value(row)),
        T::FixedSizeBinary(_) => bytes(column.as_fixed_size_binary().value(row)),
        T::List(_) => list(&column.as_list::<i32>().value(row)),
        T::LargeList(_) => list(&column.as_list::<i64>().value(row)),
        T::FixedSizeList(..) => list(&column.as_fixed_size_list().value(row)),
        T::Map(..) => {
            let entries: ArrayRef = std::sync::Arc::new(column.as_map().value(row));
            list(&entries)
        }
        T::Struct(fields) => {
            let columns = fields.iter().zip(column.as_struct().columns());
            Cell::Struct(columns.map(|(field, column)| (field.name().clone(), cell_at(column, row))).collect())
        }
        T::Dictionary(..) => {
            // All keys of a dictionary are looked up at once: here it has this one.
            let one = column.slice(row, 1);
            let dictionary = one.as_any_dictionary();
            cell_at(dictionary.values(), dictionary.normalized_keys()[0])
        }
        kind => number(kind, column, row),
    }
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

fn bytes(bytes: &[u8]) -> Cell {
    Cell::Bytes(bytes.to_vec())
}

/// A damaged file may claim any number of items that take no room; they are none.
fn list(items: &ArrayRef) -> Cell {
    if takes_no_room(items.data_type()) {
        return Cell::List(Vec::new());
    }
    Cell::List((0..items.len()).map(|item| cell_at(items, item)).collect())
}

/// Whether values of this type have no bytes, whatever their number.
fn takes_no_room(kind: &DataType) -> bool {
    use DataType as T;
    match kind {
        T::Null | T::FixedSizeBinary(0) | T::FixedSizeList(_, 0) => true,
        T::FixedSizeList(item, _) => takes_no_room(item.data_type()),
        T::Struct(fields) => fields.iter().all(|field| takes_no_room(field.data_type())),
        _ => false,
    }
}

fn number(kind: &DataType, column: &ArrayRef, row: usize) -> Cell {
    use DataType as T;
    match kind {
        T::Int8 => int::<Int8Type>(column, row),
        T::Int16 => int::<Int16Type>(column, row),
        T::Int32 => int::<Int32Type>(column, row),
        T::Int64 => int::<Int64Type>(column, row),
        T::UInt8 => int::<UInt8Type>(column, row),
        T::UInt16 => int::<UInt16Type>(column, row),
        T::UInt32 => int::<UInt32Type>(column, row),
        T::UInt64 => {
            let value = column.as_primitive::<UInt64Type>().value(row);
            i64::try_from(value).map_or(Cell::Float(value as f64), Cell::Int)
        }
        T::Float16 => Cell::Float(column.as_primitive::<Float16Type>().value(row).to_f64()),
        T::Float32 => Cell::Float(column.as_primitive::<Float32Type>().value(row).into()),
        T::Float64 => Cell::Float(column.as_primitive::<Float64Type>().value(row)),
        T::Date32 => int::<Date32Type>(column, row),
        T::Date64 => int::<Date64Type>(column, row),
        T::Timestamp(TimeUnit::Second, _) => int::<TimestampSecondType>(column, row),
        T::Timestamp(TimeUnit::Millisecond, _) => int::<TimestampMillisecondType>(column, row),
        T::Timestamp(TimeUnit::Microsecond, _) => int::<TimestampMicrosecondType>(column, row),
        T::Timestamp(TimeUnit::Nanosecond, _) => int::<TimestampNanosecondType>(column, row),
        _ => Cell::Null,
    }
}

fn int<T: ArrowPrimitiveType<Native: Into<i64>>>(column: &ArrayRef, row: usize) -> Cell {
    Cell::Int(column.as_primitive::<T>().value(row).into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int32Type;
    use arrow_array::{DictionaryArray, FixedSizeListArray, NullArray, StructArray};
    use arrow_schema::{Field, Fields};

    use super::*;

    #[test]
    fn items_that_take_no_room_are_none_however_many_there_are() {
        const MANY: usize = 2_000_000_000;
        let empty: ArrayRef = Arc::new(StructArray::new_empty_fields(MANY, None));
        let fields = Fields::from(vec![Field::new("nothing", DataType::Null, true)]);
        let nothing: ArrayRef = Arc::new(NullArray::new(MANY));
        let nothing: ArrayRef = Arc::new(StructArray::new(fields, vec![nothing], None));
        for items in [empty, nothing] {
            let item = Arc::new(Field::new_list_field(items.data_type().clone(), true));
            let lists: ArrayRef = Arc::new(FixedSizeListArray::new(item, MANY as i32, items, None));
            assert_eq!(cell_at(&lists, 0), Cell::List(Vec::new()));
        }
    }

    #[test]
    fn a_code_stands_for_its_own_value() {
        let texts = [Some("a"), None, Some("b"), Some("a")];
        let column: ArrayRef = Arc::new(texts.into_iter().collect::<DictionaryArray<Int32Type>>());
        for (row, value) in texts.into_iter().enumerate() {
            assert_eq!(cell_at(&column, row), value.map_or(Cell::Null, |value| Cell::Text(value.into())));
        }
    }
}
