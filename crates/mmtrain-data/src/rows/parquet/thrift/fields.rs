//! What Parquet has in footers, indexes and headers (`parquet.thrift`: `FileMetaData`, `OffsetIndex`, `PageHeader` and what they are made
//! of), as far as `parquet` reads it.

use super::walk::kind;

/// Fields of a struct by their ids.
pub(in super::super) type Fields = [(i16, As)];

/// What a field is.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum As {
    /// A whole number of more than a byte, or one of some words: all are written alike.
    Number,
    Byte,
    Bool,
    Double,
    Bytes,
    /// Whose elements have these fields, where they are structs.
    List(&'static Fields),
    Struct(&'static Fields),
    /// A list of structs that are the nodes of a tree.
    Tree(&'static Fields),
    /// How many nodes a node of a tree has.
    Children,
    /// What a node of a tree is called.
    Name,
}

impl As {
    /// Whether a field of a type of the encoding is this.
    pub(super) fn is(self, of: u8) -> bool {
        match self {
            Self::Number | Self::Children => [kind::I16, kind::I32, kind::I64].contains(&of),
            Self::Byte => of == kind::BYTE,
            Self::Bool => [kind::TRUE, kind::FALSE].contains(&of),
            Self::Double => of == kind::DOUBLE,
            Self::Bytes | Self::Name => of == kind::BINARY,
            Self::List(_) | Self::Tree(_) => of == kind::LIST,
            Self::Struct(_) => of == kind::STRUCT,
        }
    }

    /// The fields of what it holds.
    pub(super) fn fields(self) -> &'static Fields {
        match self {
            Self::List(fields) | Self::Struct(fields) | Self::Tree(fields) => fields,
            _ => NONE,
        }
    }
}

use As::{Bool, Byte, Bytes, Children, Double, List, Name, Number, Struct, Tree};

pub(super) const NONE: &Fields = &[];

pub(in super::super) const FILE: &Fields = &[
    (1, Number),
    (2, Tree(SCHEMA_ELEMENT)),
    (3, Number),
    (4, List(ROW_GROUP)),
    (5, List(KEY_VALUE)),
    (6, Bytes),
    (7, List(COLUMN_ORDER)),
];

const SCHEMA_ELEMENT: &Fields = &[
    (1, Number),
    (2, Number),
    (3, Number),
    (4, Name),
    (5, Children),
    (6, Number),
    (7, Number),
    (8, Number),
    (9, Number),
    (10, Struct(LOGICAL_TYPE)),
];

const LOGICAL_TYPE: &Fields = &[
    (1, Struct(NONE)),
    (2, Struct(NONE)),
    (3, Struct(NONE)),
    (4, Struct(NONE)),
    (5, Struct(&[(1, Number), (2, Number)])),
    (6, Struct(NONE)),
    (7, Struct(TIME)),
    (8, Struct(TIME)),
    (10, Struct(&[(1, Byte), (2, Bool)])),
    (11, Struct(NONE)),
    (12, Struct(NONE)),
    (13, Struct(NONE)),
    (14, Struct(NONE)),
    (15, Struct(NONE)),
    (16, Struct(&[(1, Byte)])),
    (17, Struct(&[(1, Bytes)])),
    (18, Struct(&[(1, Bytes), (2, Number)])),
    (19, Struct(NONE)),
];

const TIME: &Fields = &[(1, Bool), (2, Struct(&[(1, Struct(NONE)), (2, Struct(NONE)), (3, Struct(NONE))]))];

const KEY_VALUE: &Fields = &[(1, Bytes), (2, Bytes)];

const COLUMN_ORDER: &Fields = &[(1, Struct(NONE)), (2, Struct(NONE)), (3, Struct(NONE))];

const ROW_GROUP: &Fields = &[
    (1, List(COLUMN_CHUNK)),
    (2, Number),
    (3, Number),
    (4, List(&[(1, Number), (2, Bool), (3, Bool)])),
    (5, Number),
    (7, Number),
];

const COLUMN_CHUNK: &Fields =
    &[(1, Bytes), (2, Number), (3, Struct(COLUMN)), (4, Number), (5, Number), (6, Number), (7, Number)];

const COLUMN: &Fields = &[
    (1, Number),
    (2, List(NONE)),
    (4, Number),
    (5, Number),
    (6, Number),
    (7, Number),
    (9, Number),
    (10, Number),
    (11, Number),
    (12, Struct(STATISTICS)),
    (13, List(&[(1, Number), (2, Number), (3, Number)])),
    (14, Number),
    (15, Number),
    (16, Struct(&[(1, Number), (2, List(NONE)), (3, List(NONE))])),
    (17, Struct(&[(1, Struct(BOUNDING_BOX)), (2, List(NONE))])),
];

const STATISTICS: &Fields =
    &[(1, Bytes), (2, Bytes), (3, Number), (4, Number), (5, Bytes), (6, Bytes), (7, Bool), (8, Bool), (9, Number)];

const BOUNDING_BOX: &Fields =
    &[(1, Double), (2, Double), (3, Double), (4, Double), (5, Double), (6, Double), (7, Double), (8, Double)];

pub(in super::super) const OFFSET_INDEX: &Fields =
    &[(1, List(&[(1, Number), (2, Number), (3, Number)])), (2, List(NONE))];

pub(in super::super) const PAGE_HEADER: &Fields = &[
    (1, Number),
    (2, Number),
    (3, Number),
    (4, Number),
    (5, Struct(&[(1, Number), (2, Number), (3, Number), (4, Number), (5, Struct(STATISTICS))])),
    (6, Struct(NONE)),
    (7, Struct(&[(1, Number), (2, Number), (3, Bool)])),
    (8, Struct(DATA_PAGE_V2)),
];

const DATA_PAGE_V2: &Fields =
    &[(1, Number), (2, Number), (3, Number), (4, Number), (5, Number), (6, Number), (7, Bool), (8, Struct(STATISTICS))];
