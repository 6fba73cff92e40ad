//! Where the messages of an Arrow file stand, found by going from header to header.

use arrow_ipc::{MessageHeader, root_as_message_with_opts};
use flatbuffers::{InvalidFlatbuffer, VerifierOptions};

use crate::reading::{ReadAt, bytes_at};
use crate::sample::Reject;

/// What a file with a footer begins with, with two bytes of fill; the messages come behind it.
const MAGIC: &[u8] = b"ARROW1\0\0";
/// Stands before the length of a header; files of Arrow before 0.15 have the length alone.
const CONTINUATION: u32 = u32::MAX;
/// Longest header. That of a schema says everything about all columns.
const MAX_HEADER: u64 = 16 << 20;
/// Bytes that a header says it has for each that it has: its parts may share others, and each is made anew from them.
const MAX_SHARED: usize = 8;
/// Longest body that is read at once.
const MAX_BODY: u64 = 1 << 30;
/// More rows than any published set has in one file.
const MAX_ROWS: usize = 200_000_000;

/// A batch of rows, or a dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    /// Where its header begins.
    pub(super) header: u64,
    pub(super) header_bytes: u64,
    body_bytes: u64,
    pub(super) rows: usize,
}

impl Message {
    /// Of header and body.
    pub(super) fn bytes(&self) -> u64 {
        self.header_bytes + self.body_bytes
    }

    /// Behind its body.
    pub(super) fn end(&self) -> u64 {
        self.header + self.bytes()
    }
}

/// The header of a message, whose parts are no larger than its bytes let one expect, and at most a million, as is usual.
pub(super) fn header_of(header: &[u8]) -> Result<arrow_ipc::Message<'_>, InvalidFlatbuffer> {
    let max_apparent_size = (64 << 10) + MAX_SHARED * header.len();
    root_as_message_with_opts(&VerifierOptions { max_apparent_size, ..VerifierOptions::default() }, header)
}

/// The messages of a file.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// The header of the schema.
    pub(super) schema: Vec<u8>,
    pub(super) dictionaries: Vec<Message>,
    pub(super) batches: Vec<Message>,
    rows: usize,
    /// Why not all of the file is used.
    pub(super) fault: Option<Reject>,
}

/// Goes through a file of `len` bytes. An error where it is something else; what is cut or damaged further on is a fault.
pub(super) fn scan(file: &dyn ReadAt, len: u64) -> Result<Messages, String> {
    let mut found = Messages::default();
    let magic = bytes_at(file, 0, MAGIC.len().min(len as usize)).map_err(|error| error.to_string())?;
    let mut walk = Walk { file, len, at: if magic == MAGIC { MAGIC.len() as u64 } else { 0 } };
    let fault = loop {
        match walk.step(&mut found) {
            Ok(true) => {}
            Ok(false) => break None,
            Err(Wrong::Refused(detail)) => return Err(detail),
            Err(Wrong::Fault(fault)) => break Some(fault),
        }
    };
    if found.schema.is_empty() { Err("is no Arrow file".into()) } else { Ok(Messages { fault, ..found }) }
}

enum Wrong {
    /// The whole file is not read.
    Refused(String),
    /// What comes from here on is not.
    Fault(Reject),
}

struct Walk<'a> {
    file: &'a dyn ReadAt,
    len: u64,
    /// Where the next message is.
    at: u64,
}

impl Walk<'_> {
    /// Reads the header of a message and goes to the next one; false at the end.
    fn step(&mut self, found: &mut Messages) -> Result<bool, Wrong> {
        let Some((start, header)) = self.header()? else {
            return Ok(false);
        };
        let message = header_of(&header).map_err(|error| self.no_header(&error))?;
        let header_bytes = header.len() as u64;
        let body_bytes = u64::try_from(message.bodyLength()).map_err(|_| self.damaged("has no length"))?;
        let end = (start + header_bytes).checked_add(body_bytes).filter(|&end| end <= self.len);
        let end = end.ok_or_else(|| self.cut())?;
        if message.header_type() == MessageHeader::Schema && found.schema.is_empty() {
            found.schema = header;
        } else {
            let rows = self.rows(&message, body_bytes, found.rows)?;
            let place = Message { header: start, header_bytes, body_bytes, rows };
            if message.header_type() == MessageHeader::RecordBatch {
                found.rows += rows;
                found.batches.push(place);
            } else {
                found.dictionaries.push(place);
            }
        }
        self.at = end;
        Ok(true)
    }

    /// Where the header of the message begins, and the header. A stream need not say that it ends.
    fn header(&self) -> Result<Option<(u64, Vec<u8>)>, Wrong> {
        if self.at == self.len {
            return Ok(None);
        }
        let mut start = self.at + 4;
        let mut size = word(&self.read(self.at, 4)?);
        if size == CONTINUATION {
            (start, size) = (self.at + 8, word(&self.read(start, 4)?));
        }
        match u64::from(size) {
            0 => Ok(None),
            size if size > MAX_HEADER => Err(self.damaged("has a header of more than 16 MiB")),
            size => Ok(Some((start, self.read(start, size)?))),
        }
    }

    /// How many rows a batch or dictionary has, behind `before` others.
    fn rows(&self, message: &arrow_ipc::Message<'_>, body_bytes: u64, before: usize) -> Result<usize, Wrong> {
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|batch| batch.data()),
            _ => return Err(self.damaged("is neither a batch nor a dictionary")),
        };
        let batch = batch.ok_or_else(|| self.damaged("is empty"))?;
        if batch.compression().is_some() {
            let detail = "is compressed, which is not read: write it with `compression=None`, or as Parquet";
            return Err(Wrong::Refused(detail.into()));
        }
        if body_bytes > MAX_BODY {
            return Err(self.damaged("has more than 1 GiB"));
        }
        // Each column would have a copy of what they share.
        let parts = batch.buffers().into_iter().flatten().map(|part| u64::try_from(part.length()).unwrap_or(u64::MAX));
        if parts.fold(0, u64::saturating_add) > body_bytes {
            return Err(self.damaged("says that its parts are larger than it is"));
        }
        // A row takes a bit at least.
        let rows = usize::try_from(batch.length()).ok().filter(|&rows| rows as u64 <= 8 * body_bytes);
        rows.filter(|rows| rows + before <= MAX_ROWS).ok_or_else(|| self.damaged("cannot have so many rows"))
    }

    fn read(&self, offset: u64, size: u64) -> Result<Vec<u8>, Wrong> {
        if offset + size > self.len {
            return Err(self.cut());
        }
        bytes_at(self.file, offset, size as usize).map_err(|error| Wrong::Refused(error.to_string()))
    }

    fn no_header(&self, error: &InvalidFlatbuffer) -> Wrong {
        match error {
            InvalidFlatbuffer::TooManyTables | InvalidFlatbuffer::ApparentSizeTooLarge => Wrong::Refused(format!(
                "the header of the message at byte {} says more than {MAX_SHARED} times what it has bytes for, or has too many parts",
                self.at
            )),
            _ => self.damaged("has a header that is none"),
        }
    }

    fn damaged(&self, detail: &str) -> Wrong {
        let detail = format!("the message at byte {} {detail}; what follows is not read", self.at);
        Wrong::Fault(Reject::new("rows_damaged", detail))
    }

    fn cut(&self) -> Wrong {
        let detail = format!("breaks off at byte {} in the message at byte {}", self.len, self.at);
        Wrong::Fault(Reject::new("rows_cut_short", detail))
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes were read"))
}
