//! Boxes that an answer names.

/// Boxes `[x1, y1, x2, y2]` in a text, in the order and the unit in which they stand there: four numbers in square brackets
/// (LLaVA, Qwen2.5-VL), or two points in round ones (Qwen-VL, Qwen2-VL: `(x1,y1),(x2,y2)`).
pub fn boxes_in(text: &str) -> Vec<[f64; 4]> {
    let mut found = Vec::new();
    let mut corner: Option<[f64; 2]> = None;
    let mut rest = text;
    while let Some(at) = rest.find(['[', '(']) {
        let open = rest.as_bytes()[at];
        rest = &rest[at + 1..];
        let close = if open == b'[' { ']' } else { ')' };
        let Some((inside, behind)) = rest.split_once(close) else { continue };
        match numbers(inside).as_deref() {
            Some(&[x1, y1, x2, y2]) => found.push([x1, y1, x2, y2]),
            Some(&[x, y]) if open == b'(' => match corner.take() {
                Some([x1, y1]) => found.push([x1, y1, x, y]),
                None => corner = Some([x, y]),
            },
            // Something else in brackets may have a box in it.
            _ => continue,
        }
        rest = behind;
    }
    found
}

/// The numbers between commas, if there is nothing else.
fn numbers(text: &str) -> Option<Vec<f64>> {
    text.split(',').map(|number| number.trim().parse().ok().filter(|number: &f64| number.is_finite())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_writing_a_box_is_read() {
        assert_eq!(boxes_in("It is at [0.33, 0.67, 0.66, 1.00]."), [[0.33, 0.67, 0.66, 1.0]]);
        let qwen = "<|object_ref_start|>the star<|object_ref_end|><|box_start|>(10,20),(300,400)<|box_end|>";
        assert_eq!(boxes_in(qwen), [[10.0, 20.0, 300.0, 400.0]]);
        assert_eq!(boxes_in("{\"bbox_2d\": [1, 2, 3, 4], \"label\": \"a\"}"), [[1.0, 2.0, 3.0, 4.0]]);
        assert_eq!(boxes_in("[[1,2,3,4], [5,6,7,8]]"), [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]);
    }

    #[test]
    fn what_is_no_box_is_none() {
        for text in ["", "no", "[1, 2, 3]", "[a, b, c, d]", "(1,2)", "[1, 2, 3, 4", "[1,,2,3]", "[NaN, 0, 1, 1]", "(("]
        {
            assert_eq!(boxes_in(text), [[0.0; 4]; 0], "{text}");
        }
    }
}
