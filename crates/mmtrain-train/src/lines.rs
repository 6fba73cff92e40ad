//! Files of one record a line: read line by line whatever their size, and added to also where there is no room for a while.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use fs_err as fs;

/// Of a line only so much is kept: no record is longer, and a file of zeros is one line without an end.
const MOST_LINE_BYTES: usize = 1 << 20;

/// Hands over each line without its end, cut after a MiB, and whether it has an end. False where there is no such file.
pub(crate) fn each_line(path: &Path, mut take: impl FnMut(&[u8], bool)) -> io::Result<bool> {
    let mut reader = match fs::File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut line = Vec::new();
    while let Some(is_whole) = next_line(&mut reader, &mut line)? {
        take(&line, is_whole);
    }
    Ok(true)
}

/// Reads a line into `line`; none at the end of the file, else whether the line has an end.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    let mut is_there = false;
    loop {
        let read = reader.fill_buf()?;
        if read.is_empty() {
            return Ok(is_there.then_some(false));
        }
        is_there = true;
        let end = read.iter().position(|&byte| byte == b'\n');
        let part = &read[..end.unwrap_or(read.len())];
        line.extend_from_slice(&part[..part.len().min(MOST_LINE_BYTES - line.len())]);
        let used = end.map_or(read.len(), |end| end + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(Some(true));
        }
    }
}

/// Bytes that are read at once from the end of a file.
const BLOCK_BYTES: u64 = 1 << 16;

/// Bytes of a file up to the end of its last line that has one.
pub(crate) fn len_of_whole_lines(file: &mut fs::File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = Vec::new();
    while end > 0 {
        let begin = end.saturating_sub(BLOCK_BYTES);
        file.seek(SeekFrom::Start(begin))?;
        block.clear();
        Read::by_ref(file).take(end - begin).read_to_end(&mut block)?;
        if let Some(last) = block.iter().rposition(|&byte| byte == b'\n') {
            return Ok(begin + last as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

/// A file that lines are added to. Lines that a full disk has no room for are kept, and written once there is some: a run need not end
/// for them.
#[derive(Debug)]
pub(crate) struct Lines {
    file: fs::File,
    /// What is not in the file yet.
    unwritten: Vec<u8>,
    /// Whether all that is in the file will survive a loss of power.
    is_durable: bool,
}

impl Lines {
    /// Adds to the end of `file`.
    pub(crate) fn new(file: fs::File) -> Self {
        Self { file, unwritten: Vec::new(), is_durable: true }
    }

    /// Adds a line, which has no end yet.
    pub(crate) fn add(&mut self, line: &[u8]) -> io::Result<()> {
        let had_room = self.unwritten.is_empty();
        self.unwritten.extend_from_slice(line);
        self.unwritten.push(b'\n');
        self.is_durable = false;
        match write_out(&mut self.file, &mut self.unwritten) {
            Err(error) if is_full(&error) => {
                if had_room {
                    tracing::error!("{error}; the run goes on, and its lines are kept until there is room");
                }
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Writes all lines and makes them durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        write_out(&mut self.file, &mut self.unwritten)?;
        if !self.is_durable {
            self.file.sync_data()?;
            self.is_durable = true;
        }
        Ok(())
    }
}

/// Writes bytes, and keeps those that could not be written.
fn write_out(file: &mut impl Write, bytes: &mut Vec<u8>) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => drop(bytes.drain(..written)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether there was no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes in all, three at a time.
    struct Small {
        room: usize,
        taken: Vec<u8>,
    }

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(3).min(self.room - self.taken.len());
            self.taken.extend_from_slice(&bytes[..taken]);
            if taken == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_finds_no_room_is_written_once_there_is_some() {
        let mut file = Small { room: 5, taken: Vec::new() };
        let mut bytes = b"one\ntwo\n".to_vec();
        let error = write_out(&mut file, &mut bytes).expect_err("no room");
        assert!(is_full(&error) && bytes == b"wo\n", "{bytes:?}");
        file.room = 100;
        write_out(&mut file, &mut bytes).expect("room");
        assert_eq!((file.taken.as_slice(), bytes.len()), (&b"one\ntwo\n"[..], 0));
    }

    #[test]
    fn the_last_end_of_a_line_is_found_however_far_back_it_is() {
        let place = tempfile::tempdir().expect("temp dir");
        let path = place.path().join("lines");
        let block = BLOCK_BYTES as usize;
        for (whole, torn) in
            [(0, 0), (0, 5), (7, 0), (7, 5), (block, 0), (block, 3 * block), (3, block - 3), (9, block)]
        {
            let mut bytes = vec![b'x'; whole + torn];
            bytes.iter_mut().take(whole).skip(whole.saturating_sub(1)).for_each(|byte| *byte = b'\n');
            fs::write(&path, bytes).expect("written");
            let mut file = fs::File::open(&path).expect("opens");
            assert_eq!(len_of_whole_lines(&mut file).expect("read"), whole as u64, "{whole} and {torn}");
        }
    }

    #[test]
    fn lines_come_one_by_one_and_the_last_may_lack_its_end() {
        let place = tempfile::tempdir().expect("temp dir");
        let path = place.path().join("lines");
        let read = |text: &[u8]| {
            fs::write(&path, text).expect("written");
            let mut lines = Vec::new();
            assert!(each_line(&path, |line, is_whole| lines.push((line.len(), is_whole))).expect("read"));
            lines
        };
        assert_eq!(read(b""), []);
        assert_eq!(read(b"one\n\nthree"), [(3, true), (0, true), (5, false)]);
        let long = [vec![0; 3 * MOST_LINE_BYTES], b"\nshort\n".to_vec()].concat();
        assert_eq!(read(&long), [(MOST_LINE_BYTES, true), (5, true)]);
        assert!(!each_line(&place.path().join("none"), |_, _| panic!("no line")).expect("no error"));
    }
}
