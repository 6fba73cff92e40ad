//! Which keys a query may see, as rules from which the bias of any chunk of scores is made.
//!
//! Rules are kept rather than a matrix: a whole matrix would grow with the square of the length.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use burn::prelude::*;
use burn::tensor::TensorData;
use mmtrain_kernels::Seen;

use super::KeyRuns;

/// Hidden scores get this instead of minus infinity: a row without any visible key stays finite.
const HIDDEN: f32 = -1e9;

/// Which keys a query may see. A key is seen if every rule lets it.
///
/// Query `i` of `queries` stands at position `keys - queries + i`, but where keys are another sequence ([`KeyRuns`]).
#[derive(Debug, Clone)]
pub struct Mask {
    queries: usize,
    keys: usize,
    /// Later keys are hidden.
    causal: bool,
    /// Keys that lie this far back, or farther, are hidden.
    window: Option<usize>,
    /// Keys that are padding. `[batch][keys]`
    padding: Vec<Vec<bool>>,
    /// Number of the segment of each position, ascending; others are hidden. `[batch or 1][keys]`
    segments: Vec<Vec<i64>>,
    /// Where rows fork: which branch each position is on, 0 for what all branches see; others are hidden. `[batch][keys]`
    branches: Vec<Vec<i64>>,
    /// Where positions stand in their sequence, if that is not their place in the row; windows count in these.
    /// `[batch][keys]`
    places: Vec<Vec<i64>>,
    /// Positions that are hidden from each other and from nobody else. `[batch][keys]`
    strangers: Vec<Vec<bool>>,
    /// Keys of another sequence, said one by one; no other rule stands beside it.
    runs: Option<KeyRuns>,
    device: Device,
    /// The bias of all scores, made when it is first asked for.
    whole: OnceLock<Tensor<4>>,
    /// The same as runs of keys.
    seen: OnceLock<Arc<Seen>>,
}

impl Mask {
    fn open(queries: usize, keys: usize, device: &Device) -> Self {
        Self {
            queries,
            keys,
            causal: false,
            window: None,
            padding: Vec::new(),
            segments: Vec::new(),
            branches: Vec::new(),
            places: Vec::new(),
            strangers: Vec::new(),
            runs: None,
            device: device.clone(),
            whole: OnceLock::new(),
            seen: OnceLock::new(),
        }
    }

    /// Whether later keys are hidden.
    pub(super) fn is_causal(&self) -> bool {
        self.causal
    }

    /// Whether nothing but later keys is hidden.
    pub(super) fn is_only_causal(&self) -> bool {
        self.causal && self.window.is_none() && self.runs.is_none() && self.rows() == 0
    }

    /// A query sees the keys up to its own position.
    pub fn causal(queries: usize, keys: usize, device: &Device) -> Self {
        Self { causal: true, ..Self::open(queries, keys, device) }
    }

    /// Causal, and keys where `attention_mask` is 0 are hidden (left padding, as `transformers` batches prompts).
    ///
    /// `attention_mask` is row-major `[batch, keys]`.
    pub fn causal_with_padding(attention_mask: &[i64], batch: usize, keys: usize, device: &Device) -> Self {
        let rows = attention_mask.chunks_exact(keys).take(batch);
        let padding = rows.map(|row| row.iter().map(|&keep| keep == 0).collect()).collect();
        Self { padding, ..Self::causal(keys, keys, device) }
    }

    /// Every position sees the keys that `keep` has, in both directions (padding of an encoder's input).
    ///
    /// `keep` is row-major `[batch, keys]`.
    pub fn keys_kept(keep: &[bool], batch: usize, device: &Device) -> Self {
        let keys = keep.len() / batch.max(1);
        let padding = keep.chunks_exact(keys.max(1)).map(|row| row.iter().map(|keep| !keep).collect()).collect();
        Self { padding, ..Self::open(keys, keys, device) }
    }

    /// Causal inside each of the sequences that lie behind one another in a row.
    ///
    /// `lengths` are theirs, a list for each row of `seq` positions; what is left of a row is padding, a
    /// segment of its own.
    pub fn packed(lengths: &[Vec<usize>], seq: usize, device: &Device) -> Self {
        let segments = lengths.iter().map(|lengths| segment_numbers(lengths, seq)).collect();
        Self { segments, ..Self::causal(seq, seq, device) }
    }

    /// The same where sequences fork: from a position on, they have two ends that do not see each other.
    ///
    /// `branches` has 0 for a position that all see, and the number of its branch for others; `places` says where in its
    /// sequence each position stands. Both are `[batch][keys]`.
    #[must_use]
    pub fn forked(self, branches: Vec<Vec<i64>>, places: Vec<Vec<i64>>) -> Self {
        Self { branches, places, whole: OnceLock::new(), seen: OnceLock::new(), ..self }
    }

    /// Every position sees its whole segment and nothing else, as in vision towers that take several images
    /// of different size as one sequence.
    pub fn block_diagonal(lengths: &[usize], device: &Device) -> Self {
        let seq = lengths.iter().sum();
        Self { segments: vec![segment_numbers(lengths, seq)], ..Self::open(seq, seq, device) }
    }

    /// Positions that `marked` has do not see each other; they see all others and are seen by all others.
    ///
    /// What `_prepare_aspect_ratio_attention_mask` of `modeling_mllama.py` comes to. `marked` is row-major
    /// `[batch, keys]`.
    pub fn strangers(marked: &[bool], batch: usize, device: &Device) -> Self {
        let keys = marked.len() / batch.max(1);
        let strangers = marked.chunks_exact(keys.max(1)).map(<[bool]>::to_vec).collect();
        Self { strangers, ..Self::open(keys, keys, device) }
    }

    /// A query sees the runs of keys that are said for it, as in cross-attention.
    pub fn key_runs(runs: KeyRuns, device: &Device) -> Self {
        let (queries, keys) = (runs.queries(), runs.keys());
        Self { runs: Some(runs), ..Self::open(queries, keys, device) }
    }

    /// A query at position `i` sees, of the keys `j` that it would see, those with `j > i - window`.
    #[must_use]
    pub fn with_window(self, window: usize) -> Self {
        Self { window: Some(window), whole: OnceLock::new(), seen: OnceLock::new(), ..self }
    }

    /// Number of keys.
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// The bias of all scores. `[batch or 1, 1, queries, keys]`
    pub(super) fn whole(&self) -> Tensor<4> {
        self.whole.get_or_init(|| self.bias(0..self.queries, 0..self.keys)).clone()
    }

    /// The keys that each query sees.
    pub(super) fn seen(&self) -> Arc<Seen> {
        let make = || match &self.runs {
            Some(runs) => runs.seen(),
            None => Seen::new(
                [self.rows().max(1), self.queries, self.keys],
                |row, query| self.candidates(row, query + self.keys - self.queries),
                |row, query, key| !self.is_hidden(row, query + self.keys - self.queries, key),
            ),
        };
        Arc::clone(self.seen.get_or_init(|| Arc::new(make())))
    }

    /// Keys outside of these are hidden from a position.
    fn candidates(&self, row: usize, position: usize) -> Range<usize> {
        let mut keys = 0..if self.causal { position + 1 } else { self.keys };
        if let Some(numbers) = of_row(&self.segments, row) {
            let own = numbers[position];
            keys.start = numbers.partition_point(|&number| number < own);
            keys.end = keys.end.min(numbers.partition_point(|&number| number <= own));
        }
        keys
    }

    /// Whether a rule hides a key from a position.
    fn is_hidden(&self, row: usize, position: usize, key: usize) -> bool {
        let marked = |rule: &[Vec<bool>], at: usize| of_row(rule, row).is_some_and(|row| row[at]);
        let branch = |at: usize| of_row(&self.branches, row).map_or(0, |row| row[at]);
        let place = |at: usize| of_row(&self.places, row).map_or(at as i64, |row| row[at]);
        self.window.is_some_and(|window| place(key) + window as i64 <= place(position))
            || branch(key) != 0 && branch(key) != branch(position)
            || marked(&self.padding, key)
            || marked(&self.strangers, key) && marked(&self.strangers, position)
    }

    /// Every key that one of these queries sees lies in here.
    pub(super) fn seen_by(&self, queries: Range<usize>) -> Range<usize> {
        if let Some(runs) = &self.runs {
            return runs.seen_by(queries);
        }
        let positions = self.positions(queries);
        let mut seen = 0..self.keys;
        if self.causal {
            seen.end = positions.end;
        }
        if let Some(window) = self.window {
            seen.start = (self.first_place(&positions) + 1).saturating_sub(window);
        }
        let firsts = self.segments.iter().map(|row| row.partition_point(|&s| s < row[positions.start]));
        let ends = self.segments.iter().map(|row| row.partition_point(|&s| s <= row[positions.end - 1]));
        seen.start.max(firsts.min().unwrap_or(0))..seen.end.min(ends.max().unwrap_or(self.keys))
    }

    /// Rows that rules are said for, row by row.
    fn rows(&self) -> usize {
        let rules = [self.padding.len(), self.segments.len(), self.branches.len(), self.strangers.len()];
        rules.into_iter().max().unwrap_or_default()
    }

    /// The least place of some positions; a key stands no further to the left than its place.
    fn first_place(&self, positions: &Range<usize>) -> usize {
        let places = self.places.iter().flat_map(|row| &row[positions.clone()]).min();
        places.map_or(positions.start, |&place| place as usize)
    }

    fn positions(&self, queries: Range<usize>) -> Range<usize> {
        let offset = self.keys - self.queries;
        queries.start + offset..queries.end + offset
    }

    /// Zero where a query sees a key, else [`HIDDEN`]. `[batch or 1, 1, queries, keys]`
    pub(super) fn bias(&self, queries: Range<usize>, keys: Range<usize>) -> Tensor<4> {
        if let Some(runs) = &self.runs {
            return runs.hidden(queries, keys, &self.device).float() * HIDDEN;
        }
        let batch = self.rows().max(1);
        let positions = self.positions(queries);
        let shape = [batch, 1, positions.len(), keys.len()];
        let hidden = self.rules(&positions, &keys).into_iter().map(|hidden| hidden.expand(shape));
        match hidden.reduce(Tensor::bool_or) {
            Some(hidden) => hidden.float() * HIDDEN,
            None => Tensor::zeros(shape, &self.device),
        }
    }

    /// What each rule hides, in shapes that broadcast to `[batch or 1, 1, queries, keys]`.
    fn rules(&self, positions: &Range<usize>, keys: &Range<usize>) -> Vec<Tensor<4, Bool>> {
        let query = self.ints(&[range(positions)], [1, 1, positions.len(), 1]);
        let key = self.ints(&[range(keys)], [1, 1, 1, keys.len()]);
        let [query, key] = [query, key].map(|x| x.expand([1, 1, positions.len(), keys.len()]));
        let mut rules = Vec::new();
        if self.causal {
            rules.push(key.clone().greater(query.clone()));
        }
        if let Some(window) = self.window {
            let [key, query] =
                if self.places.is_empty() { [key, query] } else { self.pairs(&self.places, positions, keys) };
            rules.push((key + window as i64).lower_equal(query));
        }
        if !self.branches.is_empty() {
            let [key, query] = self.pairs(&self.branches, positions, keys);
            rules.push(key.clone().not_equal_elem(0).bool_and(key.not_equal(query)));
        }
        if !self.padding.is_empty() {
            rules.push(self.padding_rule(keys));
        }
        if !self.segments.is_empty() {
            rules.push(self.segment_rule(positions, keys));
        }
        if !self.strangers.is_empty() {
            rules.push(self.strangers_rule(positions, keys));
        }
        rules
    }

    /// `[batch, 1, 1, keys]`
    fn padding_rule(&self, keys: &Range<usize>) -> Tensor<4, Bool> {
        self.bools(&self.padding, keys, [self.padding.len(), 1, 1, keys.len()])
    }

    /// `[batch, 1, queries, keys]`
    fn strangers_rule(&self, positions: &Range<usize>, keys: &Range<usize>) -> Tensor<4, Bool> {
        let rows = self.strangers.len();
        let query = self.bools(&self.strangers, positions, [rows, 1, positions.len(), 1]);
        let key = self.bools(&self.strangers, keys, [rows, 1, 1, keys.len()]);
        let [query, key] = [query, key].map(|x| x.expand([rows, 1, positions.len(), keys.len()]));
        query.bool_and(key)
    }

    /// `[batch or 1, 1, queries, keys]`
    fn segment_rule(&self, positions: &Range<usize>, keys: &Range<usize>) -> Tensor<4, Bool> {
        let [key, query] = self.pairs(&self.segments, positions, keys);
        query.not_equal(key)
    }

    /// The numbers of keys and of queries, each as `[batch or 1, 1, queries, keys]`.
    fn pairs(&self, numbers: &[Vec<i64>], positions: &Range<usize>, keys: &Range<usize>) -> [Tensor<4, Int>; 2] {
        let rows = numbers.len();
        let of = |at: &Range<usize>| numbers.iter().map(|row| row[at.clone()].to_vec()).collect::<Vec<_>>();
        let key = self.ints(&of(keys), [rows, 1, 1, keys.len()]);
        let query = self.ints(&of(positions), [rows, 1, positions.len(), 1]);
        [key, query].map(|x| x.expand([rows, 1, positions.len(), keys.len()]))
    }

    fn bools(&self, rows: &[Vec<bool>], at: &Range<usize>, shape: [usize; 4]) -> Tensor<4, Bool> {
        let values = rows.iter().flat_map(|row| row[at.clone()].iter().copied()).collect::<Vec<_>>();
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }

    fn ints(&self, rows: &[Vec<i64>], shape: [usize; 4]) -> Tensor<4, Int> {
        Tensor::from_data(TensorData::new(rows.concat(), shape), &self.device)
    }
}

/// What a rule says of a row of the batch, where it says something; a single row speaks for all.
fn of_row<T>(rule: &[Vec<T>], row: usize) -> Option<&[T]> {
    rule.get(if rule.len() == 1 { 0 } else { row }).map(Vec::as_slice)
}

fn range(positions: &Range<usize>) -> Vec<i64> {
    positions.clone().map(|position| position as i64).collect()
}

/// The number of the segment of each of `seq` positions; what no length covers is one more segment.
fn segment_numbers(lengths: &[usize], seq: usize) -> Vec<i64> {
    let numbers = lengths.iter().enumerate().flat_map(|(number, &len)| std::iter::repeat_n(number as i64, len));
    numbers.chain(std::iter::repeat(lengths.len() as i64)).take(seq).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row per query, `x` where it sees a key; as the bias has it, which has to be as the runs have it.
    fn picture(mask: &Mask) -> Vec<String> {
        let pictured = of_bias(mask);
        let seen = mask.seen();
        let rows = pictured.len() / mask.queries;
        let of_runs = (0..rows * mask.queries).map(|at| {
            let runs = seen.of(at / mask.queries, at % mask.queries);
            (0..mask.keys as u32).map(|key| if runs.iter().any(|run| run.contains(&key)) { 'x' } else { '.' }).collect()
        });
        assert_eq!(of_runs.collect::<Vec<String>>(), pictured);
        pictured
    }

    fn of_bias(mask: &Mask) -> Vec<String> {
        let bias = mask.whole().into_data().try_to_vec::<f32>().expect("f32");
        bias.chunks_exact(mask.keys)
            .map(|row| row.iter().map(|&bias| if bias == 0.0 { 'x' } else { '.' }).collect())
            .collect()
    }

    #[test]
    fn new_queries_stand_at_the_end_of_the_keys() {
        let mask = Mask::causal(2, 5, &Device::flex());
        assert_eq!(picture(&mask), ["xxxx.", "xxxxx"]);
        assert_eq!(picture(&mask.with_window(3)), [".xxx.", "..xxx"]);
    }

    #[test]
    fn padding_hides_keys_of_its_own_row() {
        let mask = Mask::causal_with_padding(&[0, 1, 1, 1, 1, 1], 2, 3, &Device::flex());
        assert_eq!(picture(&mask), ["...", ".x.", ".xx", "x..", "xx.", "xxx"]);
    }

    #[test]
    fn packed_sequences_do_not_see_each_other_nor_the_padding_behind_them() {
        let mask = Mask::packed(&[vec![2, 3], vec![4]], 5, &Device::flex());
        let expected = [
            ["x....", "xx...", "..x..", "..xx.", "..xxx"], // two sequences
            ["x....", "xx...", "xxx..", "xxxx.", "....x"], // one, and padding
        ];
        assert_eq!(picture(&mask), expected.concat());
        assert_eq!(picture(&mask.with_window(2))[4], "...xx");
    }

    #[test]
    fn the_ends_of_a_fork_do_not_see_each_other_and_windows_count_along_each() {
        let (branches, places) = (vec![vec![0, 0, 1, 1, 2, 2]], vec![vec![0, 1, 2, 3, 2, 3]]);
        let mask = Mask::packed(&[vec![6]], 6, &Device::flex()).forked(branches, places);
        let expected = ["x.....", "xx....", "xxx...", "xxxx..", "xx..x.", "xx..xx"];
        assert_eq!(picture(&mask), expected);
        let windowed = mask.with_window(2);
        assert_eq!(picture(&windowed), ["x.....", "xx....", ".xx...", "..xx..", ".x..x.", "....xx"]);
        assert_eq!(windowed.seen_by(4..6), 1..6);
    }

    #[test]
    fn blocks_see_themselves_in_both_directions() {
        assert_eq!(picture(&Mask::block_diagonal(&[1, 2], &Device::flex())), ["x..", ".xx", ".xx"]);
    }

    /// Two rows of three queries over three runs of two keys.
    fn runs() -> Mask {
        let seen = ["x..", ".x.", "x.x", "...", ".x.", ".x."].concat().chars().map(|seen| seen == 'x').collect();
        Mask::key_runs(KeyRuns { seen, batch: 2, runs: 3, keys_per_run: 2 }, &Device::flex())
    }

    #[test]
    fn runs_of_keys_are_seen_as_said() {
        assert_eq!(picture(&runs()), ["xx....", "..xx..", "xx..xx", "......", "..xx..", "..xx.."]);
    }

    #[test]
    fn a_chunk_takes_the_keys_from_the_first_run_to_the_last_that_it_sees() {
        assert_eq!(runs().seen_by(0..3), 0..6);
        assert_eq!(runs().seen_by(1..2), 2..4);
        let blind = KeyRuns { seen: vec![false; 4], batch: 1, runs: 2, keys_per_run: 3 };
        assert_eq!(Mask::key_runs(blind, &Device::flex()).seen_by(0..2), 0..3);
        let part = runs().bias(1..3, 2..4).into_data().try_to_vec::<f32>().expect("f32");
        assert_eq!(
            part.iter().map(|&bias| bias == 0.0).collect::<Vec<_>>(),
            [
                true, true, false, false, // first row
                true, true, true, true, // second row
            ]
        );
    }

    #[test]
    fn strangers_are_hidden_from_each_other_only() {
        let mask = Mask::strangers(&[false, true, true, true, false, false], 2, &Device::flex());
        assert_eq!(picture(&mask), ["xxx", "x..", "x..", ".xx", "xxx", "xxx"]);
    }

    #[test]
    fn chunks_are_given_only_keys_that_they_can_see() {
        let device = Device::flex();
        assert_eq!(Mask::causal(4, 10, &device).seen_by(1..3), 0..9);
        assert_eq!(Mask::causal(4, 10, &device).with_window(2).seen_by(1..3), 6..9);
        assert_eq!(Mask::packed(&[vec![3, 3], vec![5]], 6, &device).seen_by(3..5), 0..5);
        assert_eq!(Mask::packed(&[vec![3, 3]], 6, &device).seen_by(3..5), 3..5);
        assert_eq!(Mask::block_diagonal(&[2, 3, 1], &device).seen_by(3..4), 2..5);
    }
}
