//! Where the members of a tar file begin and how long they are, found by walking its headers.
//!
//! Only headers are read, never payloads, and nothing is ever extracted: a name is a key, not a path,
//! so links, devices and `..` in an archive have no effect. Understood are old tar, USTAR, GNU long
//! names and PAX `path` and `size`. Follows the reading rules of Python's `tarfile`, but says what that
//! passes over: an archive ends with blocks of zeros, so one that just ends was cut short, and what comes
//! behind the zeros is not read (it may be what an older, longer file left behind). Behind a damaged header reading
//! goes on where its member ends by its size, or where the next header is found: the member is lost, and the one
//! behind it too where the damaged header may have been the one that names it.

use std::io;

use super::window::Window;

const BLOCK: u64 = 512;
/// Bytes looked at together behind the end of the archive.
const TAIL: u64 = 64 << 10;
/// Bytes looked at in all behind the end of the archive. Writers fill up a record, 10 KiB by default; a file of zeros
/// may be of any length.
const LONGEST_TAIL: u64 = 64 << 20;

/// Bytes looked at together behind a damaged header: at first, then twice as many each time, up to the most.
const FIRST_SEARCHED: u64 = 8 << 10;
const MOST_SEARCHED: u64 = 1 << 20;
/// Bytes looked at behind a damaged header: no payload that is read is longer.
const LONGEST_SEARCH: u64 = 1 << 30;

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
    /// What was passed over before that.
    pub(crate) damage: Option<Fault>,
    /// Why it breaks off, where it does.
    pub(crate) fault: Option<Fault>,
}

impl Listing {
    /// All that is wrong with it, from front to back.
    pub(crate) fn into_faults(self) -> impl Iterator<Item = Fault> {
        self.damage.into_iter().chain(self.fault)
    }
}

/// Where and why something of an archive cannot be read.
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
    let mut walk =
        Walk { window, len, at: 0, long_name: None, pax: Pax::default(), is_unnamed: false, damage: Damage::default() };
    let mut listing = Listing::default();
    loop {
        let step = walk.step();
        listing.damage = walk.damage.fault();
        match step {
            Ok(Step::Member(member)) => {
                see(walk.window, &member)?;
                listing.members.push(member);
            }
            Ok(Step::Other) => {}
            Err(Stop::Damaged) if walk.pass_over()? => {}
            Err(Stop::Damaged) => {
                listing.fault = Some(walk.damaged());
                return Ok(listing);
            }
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
    /// Whether a damaged header may have named the next member.
    is_unnamed: bool,
    damage: Damage,
}

/// What was passed over.
#[derive(Default)]
struct Damage {
    headers: usize,
    /// Where the first of them stands.
    first: u64,
    bytes: u64,
}

impl Damage {
    fn fault(&self) -> Option<Fault> {
        let Self { headers, first, bytes } = self;
        let detail = match headers {
            0 => return None,
            1 => format!("the tar header at byte {first} is damaged: {bytes} bytes are passed over, with its member"),
            _ => format!(
                "{headers} tar headers are damaged, the first at byte {first}: {bytes} bytes are passed over, with \
                 their members"
            ),
        };
        Some(Fault::new("shard_damaged", detail))
    }
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
    /// The header at the current place.
    Damaged,
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
        let size = self.pax.size.or(header.size()).ok_or(Stop::Damaged)?;
        let offset = self.at + BLOCK;
        let stored = if header.has_payload() { size } else { 0 };
        let end = offset.checked_add(stored).ok_or(Stop::Damaged)?;
        let name = self.name(&header);
        if end > self.len {
            return Err(self.cut(name, end));
        }
        let mut step = Step::Other;
        match header.kind() {
            b'L' => self.long_name = Some(c_string(&self.extension(offset, size)?)),
            b'x' => self.pax = Pax::parse(&self.extension(offset, size)?),
            b'K' | b'g' => {}
            kind => {
                self.long_name = None;
                self.pax = Pax::default();
                let is_named = !std::mem::take(&mut self.is_unnamed);
                if matches!(kind, 0 | b'0' | b'7') && !name.ends_with('/') && is_named {
                    step = Step::Member(Member { name, offset, size });
                }
            }
        }
        self.at = end.next_multiple_of(BLOCK);
        Ok(step)
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
        if is_zeros(&header.0) {
            return self.end().map(|()| None);
        }
        if header.checksum_is_right() { Ok(Some(header)) } else { Err(Stop::Damaged) }
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
            return Err(Stop::Damaged);
        }
        Ok(self.window.read(offset, size as usize)?.to_vec())
    }

    /// Moves from a damaged header to where reading goes on; false where that is nowhere. What was said of the next member may
    /// have been said by the damaged header, so that nothing of that is kept.
    fn pass_over(&mut self) -> io::Result<bool> {
        let mut header = Header([0; BLOCK as usize]);
        header.0.copy_from_slice(self.window.read(self.at, BLOCK as usize)?);
        // What begins otherwise is no archive, whatever it holds.
        if self.at == 0 && !names_format(&header.0) {
            return Ok(false);
        }
        let Some(next) = self.end_of(&header)?.map_or_else(|| self.search(), |end| Ok(Some(end)))? else {
            return Ok(false);
        };
        (self.long_name, self.pax) = (None, Pax::default());
        self.is_unnamed = header.may_name_another();
        let Damage { headers, first, bytes } = self.damage;
        let first = if headers == 0 { self.at } else { first };
        self.damage = Damage { headers: headers + 1, first, bytes: bytes + next - self.at };
        self.at = next;
        Ok(true)
    }

    /// Where the member of a damaged header ends, if its size is right: another header stands there, or the end of the archive.
    fn end_of(&mut self, header: &Header) -> io::Result<Option<u64>> {
        let end = header.size().and_then(|size| size.checked_add(self.at + BLOCK)?.checked_next_multiple_of(BLOCK));
        let Some(end) = end.filter(|end| end.checked_add(BLOCK).is_some_and(|behind| behind <= self.len)) else {
            return Ok(None);
        };
        let block = self.window.read(end, BLOCK as usize)?;
        Ok((is_header(block) || is_zeros(block)).then_some(end))
    }

    /// The next header behind a damaged one, before the end of the archive.
    fn search(&mut self) -> io::Result<Option<u64>> {
        let last = self.len.min(self.at.saturating_add(LONGEST_SEARCH));
        let (mut at, mut together, mut zeros) = (self.at + BLOCK, FIRST_SEARCHED, 0);
        while at + BLOCK <= last {
            let blocks = (last - at).min(together) / BLOCK;
            let searched = self.window.read(at, (blocks * BLOCK) as usize)?;
            for block in searched.chunks_exact(BLOCK as usize) {
                if is_header(block) {
                    return Ok(Some(at));
                }
                zeros = if is_zeros(block) { zeros + 1 } else { 0 };
                // So ends an archive, and what is behind may be what an older file left.
                if zeros == 2 {
                    return Ok(Some(at - BLOCK));
                }
                at += BLOCK;
            }
            together = (together * 2).min(MOST_SEARCHED);
        }
        Ok(None)
    }

    fn damaged(&mut self) -> Fault {
        let is_tar = self.window.read(0, BLOCK as usize).is_ok_and(names_format);
        match self.at {
            0 if !is_tar => Fault::new("shard_not_a_tar", self.not_a_tar()),
            at => Fault::new(
                "shard_damaged",
                format!("the tar header at byte {at} is damaged, and none is found behind it"),
            ),
        }
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

/// Whether a block says that it is a header, as all but those of old tar do.
fn names_format(block: &[u8]) -> bool {
    block[257..262] == *b"ustar"
}

/// Whether a block among others is a header; only those that say so are told from payloads.
fn is_header(block: &[u8]) -> bool {
    names_format(block) && block.try_into().is_ok_and(|block| Header(block).checksum_is_right())
}

fn is_zeros(block: &[u8]) -> bool {
    block.iter().all(|&byte| byte == 0)
}

struct Header([u8; BLOCK as usize]);

impl Header {
    /// Whether a header, of which anything may be damaged, may be one that names the next member.
    fn may_name_another(&self) -> bool {
        let name = self.name();
        let is_member = matches!(self.kind(), 0 | b'0'..=b'7');
        !is_member || ["PaxHeader", "@LongLink"].iter().any(|of_writers| name.contains(of_writers))
    }

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
        let says = "the tar header at byte 1024 is damaged: 1024 bytes are passed over, with its member";
        assert_eq!((listing.fault, listing.damage.map(|damage| damage.detail)), (None, Some(says.into())));
        // Without an end of the archive behind it.
        let fault = list_bytes(&bytes[..2048]).fault.expect("a fault").detail;
        assert_eq!(fault, "the tar header at byte 1024 is damaged, and none is found behind it");
    }

    #[test]
    fn a_damaged_header_costs_its_member_and_no_other() {
        let names = ["a.jpg", "a.txt", "b.jpg", "b.txt", "c.jpg", "c.txt"];
        let picture = vec![7; 3_000_000];
        let members = names.map(|name| (name, if name.ends_with("jpg") { &picture[..] } else { b"12345" }));
        let bytes = archive(&members);
        let headers = list_bytes(&bytes).members.iter().map(|member| member.offset - 512).collect::<Vec<_>>();
        for damaged in 0..names.len() - 1 {
            for at in [0, 130, 150] {
                let mut bytes = bytes.clone();
                bytes[headers[damaged] as usize + at] ^= 1;
                let listing = list_bytes(&bytes);
                let left = names.iter().enumerate().filter(|(n, _)| *n != damaged).map(|(_, name)| *name);
                assert_eq!((super::tests::names(&listing), listing.fault.as_ref()), (left.collect(), None));
                let passed = headers[damaged + 1] - headers[damaged];
                let says = format!(
                    "the tar header at byte {} is damaged: {passed} bytes are passed over, with its member",
                    headers[damaged]
                );
                assert_eq!(listing.into_faults().map(|fault| fault.detail).collect::<Vec<_>>(), [says]);
            }
        }
        let mut cut = bytes;
        cut[headers[1] as usize] ^= 1;
        cut[headers[3] as usize] ^= 1;
        cut.truncate(headers[5] as usize + 512);
        let listing = list_bytes(&cut);
        assert_eq!(super::tests::names(&listing), ["a.jpg", "b.jpg", "c.jpg"]);
        let faults = listing.into_faults().map(|fault| (fault.reason, fault.detail)).collect::<Vec<_>>();
        assert_eq!(faults.iter().map(|(reason, _)| *reason).collect::<Vec<_>>(), ["shard_damaged", "shard_cut_short"]);
        let says = format!("2 tar headers are damaged, the first at byte {}: 2048 bytes", headers[1]);
        assert!(faults[0].1.starts_with(&says), "{}", faults[0].1);
    }

    #[test]
    fn a_member_whose_name_a_damaged_header_gave_is_lost_with_it() {
        let long = |key: &str| format!("{}{key}.jpg", "d".repeat(120));
        for damaged in [0, 60, 130, 156] {
            // The name in a member of its own, as GNU tar has it.
            let mut bytes = archive(&[("a.txt", b"x"), (&long("1"), b"y"), (&long("2"), b"z")]);
            bytes[1024 + damaged] ^= 1;
            assert_eq!(names(&list_bytes(&bytes)), ["a.txt", &long("2")], "{damaged}");
        }
        for damaged in [0, 60, 130] {
            // … and behind it, the header of the member.
            let mut bytes = archive(&[("a.txt", b"x"), (&long("1"), b"y"), ("short.txt", b"z")]);
            bytes[1024 + 1024 + damaged] ^= 1;
            assert_eq!(names(&list_bytes(&bytes)), ["a.txt", "short.txt"], "{damaged}");
        }
        let mut builder = tar::Builder::new(Vec::new());
        for (name, short) in [("日本.jpg", "??.jpg"), ("中国.jpg", "??.jpg")] {
            builder.append_pax_extensions([("path", name.as_bytes())]).expect("appended");
            let mut header = tar::Header::new_ustar();
            header.set_size(1);
            builder.append_data(&mut header, short, &b"x"[..]).expect("appended");
        }
        let mut bytes = builder.into_inner().expect("an archive");
        bytes[3] ^= 1;
        assert_eq!(names(&list_bytes(&bytes)), ["中国.jpg"]);
    }

    #[test]
    fn what_stands_in_a_damaged_member_or_behind_the_end_is_none_of_the_archive() {
        let inner = archive(&[("zzz.jpg", b"of another"), ("zzz.txt", b"of another")]);
        let mut bytes = archive(&[("a.tar", &inner), ("b.jpg", b"x")]);
        bytes[3] ^= 1;
        assert_eq!(names(&list_bytes(&bytes)), ["b.jpg"]);
        // The last header is damaged, in its size or elsewhere, and an older file was longer.
        for damaged in [3, 125] {
            let mut old = archive(&[("a.jpg", b"x"), ("b.jpg", b"y")]);
            old[1024 + damaged] = b'9';
            let listing = list_bytes(&[old, archive(&[("old.jpg", b"z")])].concat());
            assert_eq!(names(&listing), ["a.jpg"]);
            let reasons = listing.into_faults().map(|fault| fault.reason).collect::<Vec<_>>();
            assert_eq!(reasons, ["shard_damaged", "shard_data_after_end"]);
        }
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
