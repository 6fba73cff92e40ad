//! Text to boxes with labels, whatever else stands around them.
//!
//! One pass from left to right. What cannot be read is passed over by one character, and nothing is looked for further away
//! than [`REACH`], so a text of any kind takes time in proportion to its length.

use serde_json::Value;

use super::{NamedBox, Notation, ParsedBoxes};

/// How many bytes a label or a list of numbers may take.
const REACH: usize = 1000;
/// Braces of an object that may open before the name of its box.
const NESTED: usize = 8;
/// Words that a label in running text has at most; what is longer is a sentence.
const LABEL_WORDS: usize = 6;

/// Opening and closing mark of a label.
const REFS: [(&str, &str); 2] = [("<ref>", "</ref>"), ("<|object_ref_start|>", "<|object_ref_end|>")];

/// Opening and closing mark of boxes, the points of one, and how this is called.
const MARKS: [(&str, &str, usize, Notation); 4] = [
    ("<box>", "</box>", 2, Notation::QwenVl),
    ("<quad>", "</quad>", 4, Notation::QwenVl),
    ("<|box_start|>", "<|box_end|>", 2, Notation::Qwen2Vl),
    ("<|quad_start|>", "<|quad_end|>", 4, Notation::Qwen2Vl),
];

/// Names of the numbers in JSON.
const KEYS: [&str; 2] = ["bbox_2d", "bbox"];

/// Every box that `text` names; a quadrangle (`<quad>`) is the rectangle around it.
pub fn parse_boxes(text: &str) -> ParsedBoxes {
    let mut scan = Scan { text, at: 0, said: 0, label: None, found: ParsedBoxes::default() };
    while let Some(next) = scan.rest().find(['<', '(', '[', '{', '"']) {
        scan.at += next;
        let taken = match scan.text.as_bytes()[scan.at] {
            b'<' => scan.label_mark() || scan.box_mark(),
            b'(' => scan.bare_points(),
            b'[' => scan.brackets(),
            b'{' => scan.object(),
            _ => scan.broken_object(),
        };
        if !taken {
            scan.at += 1;
        }
    }
    scan.found
}

struct Scan<'a> {
    text: &'a str,
    /// Where it goes on.
    at: usize,
    /// End of the last label or box.
    said: usize,
    /// The label that further boxes right behind it have as well.
    label: Option<String>,
    found: ParsedBoxes,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Goes behind what was understood.
    fn take(&mut self, bytes: usize) -> bool {
        self.at += bytes;
        self.said = self.at;
        true
    }

    fn push(&mut self, label: Option<String>, coords: [f64; 4], notation: Notation) {
        self.found.boxes.push(NamedBox { label, coords, notation });
    }

    /// The label of a mark right before, or of the box right before; else what the line says.
    fn label(&mut self) -> Option<String> {
        let between = &self.text[self.said..self.at];
        if !is_joint(between) || self.label.is_none() {
            self.label = phrase(between);
        }
        self.label.clone()
    }

    fn label_mark(&mut self) -> bool {
        let rest = self.rest();
        let Some((open, close)) = REFS.iter().find(|(open, _)| rest.starts_with(open)) else { return false };
        let Some(inside) = before(&rest[open.len()..], close) else { return self.take(open.len()) };
        self.label = Some(inside.trim().to_owned()).filter(|label| !label.is_empty());
        self.take(open.len() + inside.len() + close.len())
    }

    fn box_mark(&mut self) -> bool {
        let rest = self.rest();
        let Some((open, close, corners, notation)) = MARKS.iter().find(|(open, ..)| rest.starts_with(open)) else {
            return false;
        };
        let inside = &rest[open.len()..];
        // An answer that ran out of tokens has no closing mark.
        let (inside, closed) = before(inside, close).map_or((reach(inside), 0), |inside| (inside, close.len()));
        let (points, read) = points(inside);
        let boxes = points.chunks_exact(*corners);
        let whole = boxes.remainder().is_empty() && boxes.len() > 0;
        if !whole {
            self.found.malformed += 1;
        }
        let marked = is_joint(&self.text[self.said..self.at]);
        let label = self.label.take().filter(|_| marked);
        for corners in boxes {
            self.push(label.clone(), around(corners), *notation);
        }
        self.label = label;
        self.take(open.len() + if closed > 0 { inside.len() + closed } else { read })
    }

    /// `(x1,y1),(x2,y2)`: what is left of a box when decoding leaves out special tokens.
    fn bare_points(&mut self) -> bool {
        let Some((first, behind)) = point(self.rest()) else { return false };
        let gap = self.rest()[behind..].len() - self.rest()[behind..].trim_start_matches(is_gap).len();
        let Some((second, end)) = point(&self.rest()[behind + gap..]) else { return false };
        let label = self.label();
        self.push(label, [first[0], first[1], second[0], second[1]], Notation::Qwen2Vl);
        self.take(behind + gap + end)
    }

    fn brackets(&mut self) -> bool {
        let Some((coords, bytes)) = four(self.rest()) else { return false };
        let label = self.label();
        self.push(label, coords, Notation::Brackets);
        self.take(bytes)
    }

    /// A JSON object with a box.
    fn object(&mut self) -> bool {
        // Objects in objects without end are not read from each of their braces on.
        let near = reach(self.rest());
        let Some(key) = near.find("\"bbox") else { return false };
        if near[..key].matches('{').count() > NESTED {
            return false;
        }
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<Value>();
        let Some(Ok(Value::Object(object))) = values.next() else { return false };
        let bytes = values.byte_offset();
        let Some(value) = KEYS.iter().find_map(|key| object.get(*key)) else { return false };
        let label = object.get("label").and_then(Value::as_str).map(str::to_owned).filter(|label| !label.is_empty());
        let nested = value.as_array().filter(|all| !all.is_empty() && all.iter().all(Value::is_array));
        for value in nested.map_or(std::slice::from_ref(value), Vec::as_slice) {
            match coordinates(value) {
                Some(coords) => self.push(label.clone(), coords, Notation::Json),
                None => self.found.malformed += 1,
            }
        }
        self.label = None;
        self.take(bytes)
    }

    /// `"bbox_2d": [1, 2, 3, 4]` in JSON that is none, as where the answer was cut off.
    fn broken_object(&mut self) -> bool {
        let rest = self.rest();
        let name = KEYS.iter().find_map(|key| Some(rest[1..].strip_prefix(key)?.strip_prefix('"')?.trim_start()));
        let Some(behind) = name.and_then(|name| name.strip_prefix(':')).map(str::trim_start) else { return false };
        let start = rest.len() - behind.len();
        self.label = None;
        match four(behind) {
            Some((coords, bytes)) => {
                let label = label_behind(&behind[bytes..]);
                self.push(label, coords, Notation::Json);
                self.take(start + bytes)
            }
            None if behind.starts_with("[[") => self.take(start),
            None => {
                self.found.malformed += 1;
                self.take(start)
            }
        }
    }
}

/// `, "label": "…"`.
fn label_behind(text: &str) -> Option<String> {
    let text = text.trim_start().strip_prefix(',')?.trim_start();
    let text = text.strip_prefix("\"label\"")?.trim_start().strip_prefix(':')?.trim_start();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
    values.next()?.ok().filter(|label| !label.is_empty())
}

fn coordinates(value: &Value) -> Option<[f64; 4]> {
    let numbers: Option<Vec<f64>> = value.as_array()?.iter().map(Value::as_f64).collect();
    numbers?.try_into().ok()
}

/// What a short phrase right before a box calls it: the end of the line, without marks of lists and sentences.
fn phrase(between: &str) -> Option<String> {
    let line = between.rsplit('\n').next()?;
    let line = line.trim_matches(|c: char| c.is_whitespace() || ",;:.-*•`'\"()[]".contains(c));
    let line = line.strip_prefix("and ").unwrap_or(line).trim_start();
    let is_phrase = line.split_whitespace().count() <= LABEL_WORDS && line.len() <= REACH && !line.contains(is_markup);
    (is_phrase && line.contains(char::is_alphanumeric)).then(|| line.to_owned())
}

fn is_markup(c: char) -> bool {
    "<>{}[]|=".contains(c)
}

/// Whether nothing is said between two boxes, so that both have one label.
fn is_joint(between: &str) -> bool {
    between.chars().all(is_gap)
}

fn is_gap(c: char) -> bool {
    c.is_whitespace() || c == ',' || c == ';'
}

/// `text` up to `close`, if that comes soon.
fn before<'a>(text: &'a str, close: &str) -> Option<&'a str> {
    reach(text).split_once(close).map(|(inside, _)| inside)
}

fn reach(text: &str) -> &str {
    &text[..text.floor_char_boundary(REACH)]
}

/// Points at the beginning of a text, with nothing but gaps between them, and where the last one ends.
fn points(text: &str) -> (Vec<[f64; 2]>, usize) {
    let (mut found, mut end) = (Vec::new(), 0);
    loop {
        let rest = &text[end..];
        let gap = rest.len() - rest.trim_start_matches(is_gap).len();
        let Some((at, bytes)) = point(&rest[gap..]) else { return (found, end) };
        found.push(at);
        end += gap + bytes;
    }
}

/// `(x,y)` at the beginning of a text, and its bytes.
fn point(text: &str) -> Option<([f64; 2], usize)> {
    let inside = before(text.strip_prefix('(')?, ")")?;
    Some((numbers(inside)?, inside.len() + 2))
}

/// `[x1,y1,x2,y2]` at the beginning of a text, and its bytes.
fn four(text: &str) -> Option<([f64; 4], usize)> {
    let inside = before(text.strip_prefix('[')?, "]")?;
    Some((numbers(inside)?, inside.len() + 2))
}

/// Exactly `N` finite numbers between commas.
fn numbers<const N: usize>(text: &str) -> Option<[f64; N]> {
    let mut parts = text.split(',').map(|number| number.trim().parse().ok().filter(|number: &f64| number.is_finite()));
    let mut numbers = [0.0; N];
    for number in &mut numbers {
        *number = parts.next()??;
    }
    parts.next().is_none().then_some(numbers)
}

/// The rectangle around points; two of them stay in the order in which they stand.
fn around(corners: &[[f64; 2]]) -> [f64; 4] {
    if let [[x1, y1], [x2, y2]] = *corners {
        return [x1, y1, x2, y2];
    }
    let start = [f64::MAX, f64::MAX, f64::MIN, f64::MIN];
    corners.iter().fold(start, |[x1, y1, x2, y2], [x, y]| [x1.min(*x), y1.min(*y), x2.max(*x), y2.max(*y)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, notation: Notation, boxes: &[(Option<&str>, [u16; 4])], malformed: usize) {
        let boxes = boxes.iter().map(|(label, coords)| NamedBox {
            label: label.map(str::to_owned),
            coords: coords.map(f64::from),
            notation,
        });
        assert_eq!(parse_boxes(text), ParsedBoxes { boxes: boxes.collect(), malformed }, "{text}");
    }

    #[test]
    fn qwen_vl_has_labels_and_several_boxes_behind_one() {
        let one = "<ref>a dog</ref><box>(221,423),(569,886)</box>";
        check(one, Notation::QwenVl, &[(Some("a dog"), [221, 423, 569, 886])], 0);
        let two = "<ref> dogs </ref><box>(1,2),(3,4)</box><box>(5,6),(7,8)</box> and <box>(1,1),(2,2)</box>";
        let dogs = Some("dogs");
        check(two, Notation::QwenVl, &[(dogs, [1, 2, 3, 4]), (dogs, [5, 6, 7, 8]), (None, [1, 1, 2, 2])], 0);
        check("<box>(1,2),(3,4),(5,6),(7,8)</box>", Notation::QwenVl, &[(None, [1, 2, 3, 4]), (None, [5, 6, 7, 8])], 0);
        check("<quad>(5,1),(9,5),(5,9),(1,5)</quad>", Notation::QwenVl, &[(None, [1, 1, 9, 9])], 0);
    }

    #[test]
    fn qwen2_vl_is_read_with_and_without_its_special_tokens() {
        let marked = "<|object_ref_start|>狗<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|><|im_end|>";
        check(marked, Notation::Qwen2Vl, &[(Some("狗"), [1, 2, 3, 4])], 0);
        let bare = "the big dog(1,2),(3,4)(5,6),(7,8), a cat (9, 8), (7, 6)\n- bird: (1,1),(2,2)";
        let dog = Some("the big dog");
        check(
            bare,
            Notation::Qwen2Vl,
            &[(dog, [1, 2, 3, 4]), (dog, [5, 6, 7, 8]), (Some("a cat"), [9, 8, 7, 6]), (Some("bird"), [1, 1, 2, 2])],
            0,
        );
        check("In this long sentence of many words it is (1,2),(3,4)", Notation::Qwen2Vl, &[(None, [1, 2, 3, 4])], 0);
    }

    #[test]
    fn qwen25_vl_is_read_in_fences_and_cut_off() {
        let fenced = "```json\n[\n\t{\"bbox_2d\": [1, 2, 3, 4], \"label\": \"a \\\"big\\\" dog\"},\n\t{\"label\": \"cat\", \"bbox_2d\": [5, 6, 7, 8]}\n]\n```";
        check(fenced, Notation::Json, &[(Some("a \"big\" dog"), [1, 2, 3, 4]), (Some("cat"), [5, 6, 7, 8])], 0);
        let cut = "[{\"bbox_2d\": [1, 2, 3, 4], \"label\": \"dog\"}, {\"bbox_2d\": [5, 6, 7, 8], \"lab";
        check(cut, Notation::Json, &[(Some("dog"), [1, 2, 3, 4]), (None, [5, 6, 7, 8])], 0);
        let no_comma = "{\"bbox_2d\": [1, 2, 3, 4], \"label\": \"dog\" \"x\": 1}";
        check(no_comma, Notation::Json, &[(Some("dog"), [1, 2, 3, 4])], 0);
        check("{\"bbox_2d\": [[1,2,3,4],[5,6,7,8]]}", Notation::Json, &[(None, [1, 2, 3, 4]), (None, [5, 6, 7, 8])], 0);
    }

    #[test]
    fn llava_writes_brackets() {
        check("[1, 2, 3, 4]", Notation::Brackets, &[(None, [1, 2, 3, 4])], 0);
        check(
            "A dog: [1, 2, 3, 4]; a cat: [0,0,1,1].",
            Notation::Brackets,
            &[(Some("A dog"), [1, 2, 3, 4]), (Some("a cat"), [0, 0, 1, 1])],
            0,
        );
    }

    #[test]
    fn what_announces_a_box_and_has_none_is_counted() {
        for text in [
            "<|box_start|>(246,113)<|box_end|>",
            "<box></box>",
            "<box>(1,2),(3,x)</box>",
            "<ref>a</ref><box>",
            "{\"bbox_2d\": [1, 2, 3]}",
            "{\"bbox_2d\": [1, 2, 3, \"4\"]}",
            "{\"bbox_2d\": [1, 2",
            "{\"bbox_2d\": [1, 2, 3, 1e999]}",
        ] {
            check(text, Notation::Json, &[], 1);
        }
        check("<box>(1,2),(3,4),(5,6)</box>", Notation::QwenVl, &[(None, [1, 2, 3, 4])], 1);
    }
}
