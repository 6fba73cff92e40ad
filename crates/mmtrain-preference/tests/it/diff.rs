//! Common blocks equal those of Python's `difflib`, and changed tokens those of RLHF-V's code, on 200 pairs of lists.

use mmtrain_preference::changed_tokens;
use mmtrain_preference::matching::matching_blocks;
use serde_json::Value;

use crate::fixtures::load;

fn list(value: &Value) -> Vec<usize> {
    value.as_str().expect("a string").split_whitespace().map(|word| word.parse().expect("a whole number")).collect()
}

#[test]
fn blocks_and_changed_tokens_equal_difflib_and_rlhf_v() {
    let file = load("muffin.json");
    let cases = file["diffs"].as_array().expect("a list");
    let mut long = 0;
    for (index, case) in cases.iter().enumerate() {
        let (rejected, chosen) = (list(&case["rejected"]), list(&case["chosen"]));
        let blocks = matching_blocks(&rejected, &chosen).into_iter().flat_map(|block| [block.a, block.b, block.len]);
        assert_eq!(blocks.collect::<Vec<_>>(), list(&case["blocks"]), "blocks of {index}");
        let min_match = case["min_match"].as_u64().expect("a whole number") as usize;
        let changed = changed_tokens(&chosen, &rejected, min_match);
        assert_eq!(changed.chosen, list(&case["chosen_changed"]), "chosen of {index}");
        assert_eq!(changed.rejected, list(&case["rejected_changed"]), "rejected of {index}");
        long += usize::from(chosen.len() >= 200);
    }
    assert_eq!(cases.len(), 200);
    assert!(long >= 5, "{long} lists are long enough to have frequent tokens");
}
