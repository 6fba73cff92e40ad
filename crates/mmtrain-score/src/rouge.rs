//! ROUGE-L of an answer, after `rouge.py` of `pycocoevalcap`.

/// The weight of recall against precision.
const BETA: f64 = 1.2;

/// ROUGE-L of tokenized text; precision and recall are each the best over the references.
///
/// Tokens are what stands between single blanks, as there, so an empty text has one token, the empty one: two empty texts
/// have a score of 1.
pub(crate) fn rouge_l(answer: &str, references: &[String]) -> f64 {
    let answer: Vec<&str> = answer.split(' ').collect();
    let (mut precision, mut recall) = (0.0_f64, 0.0_f64);
    for reference in references {
        let reference: Vec<&str> = reference.split(' ').collect();
        let common = longest_common(&answer, &reference) as f64;
        precision = precision.max(common / answer.len() as f64);
        recall = recall.max(common / reference.len() as f64);
    }
    if precision == 0.0 || recall == 0.0 {
        return 0.0;
    }
    (1.0 + BETA * BETA) * precision * recall / (recall + BETA * BETA * precision)
}

/// Length of the longest common subsequence; one row of the table is kept.
fn longest_common(a: &[&str], b: &[&str]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for word in a {
        let mut diagonal = 0;
        for (j, other) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if word == other { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}
