//! Where the members of a tar file begin and how long they are, found by walking its headers.
//!
//! Only headers are read, never payloads, and nothing is ever extracted: a name is a key, not a path,
//! so links, devices and `..` in an archive have no effect. Understood are old tar, USTAR, GNU long
//! names and PAX `path` and `size`. Follows the reading rules of Python's `tarfile`, but says what that
//! passes over: an archive ends with blocks of zeros, so one that just ends was cut short, and what comes
//! behind the zeros is not read (it may be what an older, longer file left behind).

use std::io;

use super::window::Window;

const BLOCK: u64 = 512;
/// Bytes looked at together behind the end of the archive.
const TAIL: u64 = 64 << 10;
/// Bytes looked at in all behind the end of the archive. Writers fill up a record, 10 KiB by default; a file of zeros
/// may be of any length.
const LONGEST_TAIL: u64 = 64 << 20;

/// Longest payload of a long-name or PAX header; real ones hold a path and some times.
const MAX_EXTENSION: u64 = 1 << 20;

/// A regular file in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// First byte of the payload.
    pub(crate) offset: u64,
    /// Bytes of the payload.
    pub(crate) size: u64,
}

/// What an archive holds, up to where it breaks off.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) members: Vec<Member>,
    pub(crate) fault: Option<Fault>,
}

/// Where and why an archive cannot be read further.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Stable name, for counting.
    pub(crate) reason: &'static str,
    pub(crate) detail: String,
    /// The member whose payload is cut.
    pub(crate) cut: Option<String>,
}

impl Fault {
    fn new(reason: &'static str, detail: String) -> Self {
        Self { reason, detail, cut: None }
    }
}

/// Lists the regular files of an archive of `len` bytes and shows each to `see`, with the window at it.
/// `Err` only where reading itself fails.
pub(crate) fn list(
    window: &mut Window,
    len: u64,
    mut see: impl FnMut(&mut Window, &Member) -> io::Result<()>,
) -> io::Result<Listing> {
    let mut walk = Walk { window, len, at: 0, long_name: None, pax: Pax::default() };
    let mut listing = Listing::default();
    loop {
        match walk.step() {
            Ok(Step::Member(member)) => {
                see(walk.window, &member)?;
                listing.members.push(member);
            }
            Ok(Step::Other) => {}
            Ok(Step::End) => return Ok(listing),
            Err(Stop::Fault(fault)) => {
                listing.fault = Some(fault);
                return Ok(listing);
            }
            Err(Stop::Io(error)) => return Err(error),
        }
    }
}

struct Walk<'a, 'f> {
    window: &'a mut Window<'f>,
    len: u64,
    at: u64,
    long_name: Option<String>,
    pax: Pax,
}

/// The PAX records that matter, for the next member.
#[derive(Default)]
struct Pax {
    path: Option<String>,
    size: Option<u64>,
}

enum Step {
    Member(Member),
    Other,
    End,
}

enum Stop {
    Fault(Fault),
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Walk<'_, '_> {
    /// Reads one header and moves to the next.
    fn step(&mut self) -> Result<Step, Stop> {
        let Some(header) = self.header()? else {
            return Ok(Step::End);
        };
        let size = self.pax.size.or(header.size()).ok_or_else(|| self.damaged())?;
        let offset = self.at + BLOCK;
        let stored = if header.has_payload() { size } else { 0 };
        let end = offset.checked_add(stored).ok_or_else(|| self.damaged())?;
        let name = self.name(&header);
        if end > self.len {
            return Err(self.cut(name, end));
        }
        self.at = end.next_multiple_of(BLOCK);
        match header.kind() {
            b'L' => self.long_name = Some(c_string(&self.extension(offset, size)?)),
            b'x' => self.pax = Pax::parse(&self.extension(offset, size)?),
            b'K' | b'g' => {}
            kind => {
                self.long_name = None;
                self.pax = Pax::default();
                if matches!(kind, 0 | b'0' | b'7') && !name.ends_with('/') {
                    return Ok(Step::Member(Member { name, offset, size }));
                }
            }
        }
        Ok(Step::Other)
    }

    /// The header at the current place; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, Stop> {
        if self.at >= self.len {
            return Err(self.unmarked());
        }
        if self.at + BLOCK > self.len {
            let detail = format!("breaks off at byte {} inside a header", self.len);
            return Err(Stop::Fault(Fault::new("shard_cut_short", detail)));
        }
        let mut header = Header([0; BLOCK as usize]);
        header.0.copy_from_slice(self.window.read(self.at, BLOCK as usize)?);
        if header.0.iter().all(|&byte| byte == 0) {
            return self.end().map(|()| None);
        }
        if header.checksum_is_right() { Ok(Some(header)) } else { Err(self.damaged()) }
    }

    /// At a block of zeros, behind which nothing but zeros may come. One block is enough for an end; the
    /// second and what fills the last record up hold nothing.
    fn end(&mut self) -> Result<(), Stop> {
        let mut at = self.at + BLOCK;
        while at < self.len {
            if at - self.at > LONGEST_TAIL {
                return Err(self.endless_tail(at));
            }
            let len = (self.len - at).min(TAIL);
            let tail = self.window.read(at, len as usize)?;
            if let Some(data) = tail.iter().position(|&byte| byte != 0) {
                return Err(self.data_after_end(at + data as u64));
            }
            at += len;
        }
        Ok(())
    }

    fn name(&self, header: &Header) -> String {
        let long = self.pax.path.as_ref().or(self.long_name.as_ref());
        long.cloned().unwrap_or_else(|| header.name())
    }

    /// Payload of a long-name or PAX header.
    fn extension(&mut self, offset: u64, size: u64) -> Result<Vec<u8>, Stop> {
        if size > MAX_EXTENSION {
            return Err(self.damaged());
        }
        Ok(self.window.read(offset, size as usize)?.to_vec())
    }

    fn damaged(&mut self) -> Stop {
        Stop::Fault(match self.at {
            0 => Fault::new("shard_not_a_tar", self.not_a_tar()),
            at => Fault::new("shard_damaged", format!("the tar header at byte {at} is damaged")),
        })
    }

    /// What it is instead, where that shows.
    fn not_a_tar(&mut self) -> String {
        let start = self.window.read(0, self.len.min(4) as usize).unwrap_or_default();
        match start {
            [0x1f, 0x8b, ..] => {
                "is compressed with gzip: unpack it (`gunzip`), members of a tar are read by offset".to_owned()
            }
            [0x28, 0xb5, 0x2f, 0xfd] => {
                "is compressed with zstd: unpack it (`unzstd`), members of a tar are read by offset".to_owned()
            }
            _ => "is not a tar archive".to_owned(),
        }
    }

    fn cut(&self, name: String, end: u64) -> Stop {
        let detail = format!("breaks off at byte {} inside `{name}`, which ends at byte {end}", self.len);
        Stop::Fault(Fault { cut: Some(name), ..Fault::new("shard_cut_short", detail) })
    }

    fn unmarked(&self) -> Stop {
        let detail = match self.len {
            0 => "is an empty file".to_owned(),
            len => format!("ends at byte {len} without an end-of-archive marker, so it may have been longer"),
        };
        Stop::Fault(Fault::new("shard_cut_short", detail))
    }

    fn endless_tail(&self, seen: u64) -> Stop {
        let (end, left) = (self.at, self.len - seen);
        let detail = format!(
            "the archive ends at byte {end}, and zeros follow up to byte {seen}; the {left} bytes behind are not read: \
             a file that was set up larger than it was written, or several archives in one file"
        );
        Stop::Fault(Fault::new("shard_data_after_end", detail))
    }

    fn data_after_end(&self, data: u64) -> Stop {
        let (end, left) = (self.at, self.len - data);
        let detail = format!(
            "the archive ends at byte {end}, but {left} bytes follow from byte {data} on and are not read: \
             a zeroed header, or several archives in one file"
        );
        Stop::Fault(Fault::new("shard_data_after_end", detail))
    }
}

impl Pax {
    /// Reads `LENGTH KEY=VALUE\n` records; broken ones end the reading.
    fn parse(mut payload: &[u8]) -> Self {
        let mut pax = Self::default();
        while let Some((record, rest)) = pax_record(payload) {
            payload = rest;
            let Some(at) = record.iter().position(|&byte| byte == b'=') else {
                break;
            };
            let value = String::from_utf8_lossy(&record[at + 1..]);
            match &record[..at] {
                b"path" => pax.path = Some(value.into_owned()),
                b"size" => pax.size = value.parse().ok(),
                _ => {}
            }
        }
        pax
    }
}

/// Splits the first record off, without its length and line break.
fn pax_record(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = payload.iter().position(|&byte| byte == b' ')?;
    let len: usize = str::from_utf8(&payload[..blank]).ok()?.parse().ok()?;
    let record = payload.get(blank + 1..len)?;
    Some((record.strip_suffix(b"\n")?, &payload[len..]))
}

struct Header([u8; BLOCK as usize]);

impl Header {
    fn kind(&self) -> u8 {
        self.0[156]
    }

    /// Links, devices, directories and pipes have no payload, whatever their size field says.
    fn has_payload(&self) -> bool {
        !(b'1'..=b'6').contains(&self.kind())
    }

    fn size(&self) -> Option<u64> {
        number(&self.0[124..136])
    }

    fn name(&self) -> String {
        let name = c_string(&self.0[..100]);
        // GNU headers keep other things where USTAR keeps the prefix.
        let prefix = if &self.0[257..263] == b"ustar\0" { c_string(&self.0[345..500]) } else { String::new() };
        if prefix.is_empty() { name } else { format!("{prefix}/{name}") }
    }

    /// The sum of all bytes, with the checksum itself as blanks; some old tars sum signed bytes.
    fn checksum_is_right(&self) -> bool {
        let byte = |at: usize| if (148..156).contains(&at) { b' ' } else { self.0[at] };
        let unsigned: u64 = (0..self.0.len()).map(|at| u64::from(byte(at))).sum();
        let signed: i64 = (0..self.0.len()).map(|at| i64::from(byte(at) as i8)).sum();
        let stored = number(&self.0[148..156]);
        stored.is_some_and(|stored| stored == unsigned || stored as i64 == signed)
    }
}

/// An octal number in text, or GNU's base-256 for large ones.
fn number(field: &[u8]) -> Option<u64> {
    let (&first, rest) = field.split_first()?;
    if first == 0x80 {
        let fits = rest.len() <= 8 || rest[..rest.len() - 8].iter().all(|&byte| byte == 0);
        let big = rest.iter().fold(0_u64, |sum, &byte| (sum << 8) | u64::from(byte));
        return (fits && i64::try_from(big).is_ok()).then_some(big);
    }
    let text = str::from_utf8(field).ok()?;
    let text = text.trim_matches(|c| c == ' ' || c == '\0');
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

/// Text up to the first NUL; what is no UTF-8 is replaced, as a key needs no exact spelling.
fn c_string(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    /// Writes `bytes` to a file and lists it.
    fn list_bytes(bytes: &[u8]) -> Listing {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        list(&mut Window::new(&file), bytes.len() as u64, |_, _| Ok(())).expect("readable")
    }

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, *content).expect("appended");
        }
        builder.into_inner().expect("an archive")
    }

    fn names(listing: &Listing) -> Vec<&str> {
        listing.members.iter().map(|member| member.name.as_str()).collect()
    }

    #[test]
    fn members_are_found_where_they_are() {
        let bytes = archive(&[("a.jpg", b"12345"), ("a.txt", b""), ("dir/b.jpg", &[7; 600])]);
        let listing = list_bytes(&bytes);
        assert_eq!(names(&listing), ["a.jpg", "a.txt", "dir/b.jpg"]);
        assert_eq!(listing.fault, None);
        let at = |i: usize| {
            let Member { offset, size, .. } = listing.members[i];
            &bytes[offset as usize..(offset + size) as usize]
        };
        assert_eq!((at(0), at(1), at(2)), (&b"12345"[..], &b""[..], &[7_u8; 600][..]));
    }

    #[test]
    fn long_names_of_gnu_and_pax_are_read() {
        let long = format!("{}/000.jpg", "d".repeat(300));
        assert_eq!(names(&list_bytes(&archive(&[(&long, b"x"), ("b.txt", b"y")]))), [&long, "b.txt"]);

        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([("path", long.as_bytes())]).expect("appended");
        let mut header = tar::Header::new_ustar();
        header.set_size(1);
        builder.append_data(&mut header, "short.jpg", &b"x"[..]).expect("appended");
        assert_eq!(names(&list_bytes(&builder.into_inner().expect("an archive"))), [&long]);
    }

    #[test]
    fn a_file_of_zeros_is_not_read_to_its_end() {
        let bytes = archive(&[("a.jpg", b"12345")]);
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&bytes).expect("written");
        let listed = |len: u64| {
            file.set_len(len).expect("sparse");
            list(&mut Window::new(&file), len, |_, _| Ok(())).expect("readable")
        };
        assert_eq!(listed(LONGEST_TAIL).fault, None, "filled up");
        let start = std::time::Instant::now();
        let listing = listed(1 << 40);
        assert_eq!(names(&listing), ["a.jpg"]);
        let fault = listing.fault.expect("longer than anything that was filled up");
        assert_eq!(fault.reason, "shard_data_after_end");
        assert!(fault.detail.contains("behind are not read"), "{}", fault.detail);
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }

    #[test]
    fn links_and_directories_are_no_members() {
        let mut builder = tar::Builder::new(Vec::new());
        for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Directory] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(0);
            builder.append_link(&mut header, "l.jpg", "/etc/passwd").expect("appended");
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        builder.append_data(&mut header, "a.txt", &b"x"[..]).expect("appended");
        assert_eq!(names(&list_bytes(&builder.into_inner().expect("an archive"))), ["a.txt"]);
    }

    /// Names, reason and detail.
    fn fault(bytes: &[u8]) -> (usize, &'static str, String) {
        let listing = list_bytes(bytes);
        let fault = listing.fault.expect("a fault");
        (listing.members.len(), fault.reason, fault.detail)
    }

    #[test]
    fn a_cut_between_two_members_is_reported() {
        let bytes = archive(&[("a.jpg", b"12345"), ("a.txt", b"x"), ("b.jpg", b"y")]);
        let expected = "ends at byte 2048 without an end-of-archive marker, so it may have been longer".to_owned();
        assert_eq!(fault(&bytes[..2048]), (2, "shard_cut_short", expected));
        // … also where the padding of the last member is missing.
        assert_eq!(fault(&bytes[..1537]).1, "shard_cut_short");
        assert_eq!(fault(b""), (0, "shard_cut_short", "is an empty file".into()));
    }

    #[test]
    fn zeros_at_the_end_are_silent_however_many_there_are() {
        // The builder ends with two blocks; `tarfile` and GNU tar fill up to 10,240 bytes.
        let mut bytes = archive(&[("a.jpg", b"12345")]);
        for len in [1024 + 512, 1024 + 1024, 10_240, 20_480, 20_480 + 7, 1 << 20] {
            bytes.resize(len, 0);
            assert_eq!(list_bytes(&bytes).fault, None, "{len} bytes");
        }
    }

    #[test]
    fn data_behind_the_end_of_the_archive_are_reported() {
        let one = archive(&[("a.jpg", b"12345"), ("a.txt", b"x")]);
        let (found, reason, detail) = fault(&[one.clone(), one.clone()].concat());
        assert_eq!((found, reason), (2, "shard_data_after_end"));
        let expected = "the archive ends at byte 2048, but 3072 bytes follow from byte 3072 on and are not read";
        assert!(detail.starts_with(expected), "{detail}");

        // Zeros over one header look the same.
        let mut zeroed = one;
        zeroed[1024..1536].fill(0);
        assert_eq!(fault(&zeroed).0, 1);
        assert_eq!(fault(&zeroed).1, "shard_data_after_end");

        // A single byte far behind.
        let mut far = archive(&[("a.jpg", b"12345")]);
        far.resize(300_000, 0);
        far[299_999] = 1;
        assert_eq!(fault(&far).1, "shard_data_after_end");
    }

    #[test]
    fn every_cut_keeps_the_whole_members_before_it() {
        let bytes = archive(&[("a.jpg", &[1; 700]), ("a.txt", b"12345"), ("b.jpg", &[2; 10])]);
        let whole = list_bytes(&bytes).members;
        for len in 0..bytes.len() {
            let listing = list_bytes(&bytes[..len]);
            let complete = whole.iter().filter(|member| member.offset + member.size <= len as u64);
            assert!(complete.eq(&listing.members), "cut at {len}");
        }
    }

    #[test]
    fn damage_is_named_and_never_panics() {
        assert_eq!(list_bytes(&[b'<'; 2000]).fault.expect("a fault").detail, "is not a tar archive");
        let mut bytes = archive(&[("a.jpg", b"12345"), ("a.txt", b"x")]);
        bytes[1024 + 3] ^= 1;
        let listing = list_bytes(&bytes);
        assert_eq!(names(&listing), ["a.jpg"]);
        assert_eq!(listing.fault.expect("a fault").detail, "the tar header at byte 1024 is damaged");
    }

    #[test]
    fn a_size_beyond_all_bounds_is_a_fault() {
        let mut header = tar::Header::new_gnu();
        header.set_path("a.jpg").expect("a short name");
        header.set_size(u64::MAX / 2);
        header.set_cksum();
        let listing = list_bytes(header.as_bytes());
        assert_eq!(listing.fault.and_then(|fault| fault.cut).as_deref(), Some("a.jpg"));
    }

    #[test]
    fn random_damage_never_panics() {
        let good = archive(&[("a.jpg", &[1; 700]), (&"d".repeat(200), b"12345"), ("b.jpg", &[2; 10])]);
        let mut state = 1_u64;
        for _ in 0..2000 {
            let mut bytes = good.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % bytes.len();
                bytes[at] = (state >> 25) as u8;
                fix_checksums(&mut bytes);
            }
            list_bytes(&bytes);
        }
    }

    /// Makes every block's checksum right, so that damage reaches the fields behind it.
    fn fix_checksums(bytes: &mut [u8]) {
        for block in bytes.chunks_exact_mut(512) {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_read_is_an_io_error() {
        let file: File = tempfile::tempfile().expect("a file");
        assert!(list(&mut Window::new(&file), 1024, |_, _| Ok(())).is_err());
    }
}
