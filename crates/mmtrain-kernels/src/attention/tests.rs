use burn::tensor::activation::softmax;

use super::*;
use crate::check::{Case, made_up, same};

/// Sizes of an attention.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    heads: usize,
    kv_heads: usize,
    queries: usize,
    keys: usize,
    width: [usize; 2],
}

impl Sizes {
    /// Query, key and value as positions with all heads side by side, of which heads are views.
    fn case(self) -> Case {
        let Self { batch, heads, kv_heads, queries, keys, width } = self;
        Case::new(&[
            &[batch * queries, heads * width[0]],
            &[batch * keys, kv_heads * width[0]],
            &[batch * keys, kv_heads * width[1]],
        ])
    }

    fn heads_of(self, x: &[Tensor<2>]) -> [Tensor<4>; 3] {
        let Self { batch, heads, kv_heads, queries, keys, width } = self;
        let split = |x: &Tensor<2>, shape: [usize; 4]| x.clone().reshape(shape).swap_dims(1, 2);
        [
            split(&x[0], [batch, queries, heads, width[0]]),
            split(&x[1], [batch, keys, kv_heads, width[0]]),
            split(&x[2], [batch, keys, kv_heads, width[1]]),
        ]
    }

    fn flat(self, output: Tensor<4>) -> Tensor<2> {
        output.swap_dims(1, 2).reshape([self.batch * self.queries, self.heads * self.width[1]])
    }
}

const SCALE: f64 = 0.11;

/// The whole matrix of scores.
fn plain([query, key, value]: [Tensor<4>; 3], seen: Option<&Seen>) -> Tensor<4> {
    let ([batch, heads, queries, width], [_, kv_heads, keys, _]) = (query.dims(), key.dims());
    let repeated = |x: Tensor<4>| {
        let width = x.dims()[3];
        let apart = x.reshape([batch, kv_heads, 1, keys * width]).repeat_dim(2, heads / kv_heads);
        apart.reshape([batch, heads, keys, width])
    };
    let scores = query.reshape([batch, heads, queries, width]).matmul(repeated(key).swap_dims(2, 3)) * SCALE;
    let scores = match seen {
        None => scores,
        Some(seen) => {
            let sees = |row, query, key: u32| seen.of(row, query).iter().any(|run| run.contains(&key));
            let hidden = (0..seen.rows).flat_map(|row| {
                (0..queries).flat_map(move |query| (0..keys as u32).map(move |key| !sees(row, query, key)))
            });
            let hidden = burn::tensor::TensorData::new(hidden.collect::<Vec<_>>(), [seen.rows, 1, queries, keys]);
            let hidden = Tensor::<4, Bool>::from_data(hidden, &scores.device());
            scores.mask_fill(hidden.expand([batch, heads, queries, keys]), -1e9)
        }
    };
    softmax(scores, 3).matmul(repeated(value))
}

fn check(sizes: Sizes, seen: Option<Seen>) {
    let seen = seen.map(Arc::new);
    same(
        &sizes.case(),
        |x| {
            let [query, key, value] = sizes.heads_of(x);
            assert!(takes_attention(&query, &key, &value));
            sizes.flat(attention(query, key, value, seen.clone(), SCALE))
        },
        |x| sizes.flat(plain(sizes.heads_of(x), seen.as_deref())),
    );
}

fn causal(rows: usize, sizes: Sizes) -> Seen {
    let shift = sizes.keys - sizes.queries;
    Seen::new([rows, sizes.queries, sizes.keys], |_, query| 0..query + shift + 1, |_, _, _| true)
}

const SMALL: Sizes = Sizes { batch: 2, heads: 4, kv_heads: 2, queries: 5, keys: 7, width: [8, 6] };
/// Several parts of queries, the last one not full.
const LONG: Sizes = Sizes { batch: 2, heads: 2, kv_heads: 1, queries: 150, keys: 190, width: [16, 16] };

#[test]
fn output_and_gradients_are_those_of_the_whole_matrix() {
    for sizes in [SMALL, LONG, Sizes { batch: 1, heads: 1, kv_heads: 1, ..LONG }] {
        check(sizes, None);
        check(sizes, Some(causal(1, sizes)));
    }
}

#[test]
fn any_keys_may_be_hidden() {
    for sizes in [SMALL, LONG] {
        let Sizes { batch, queries, keys, .. } = sizes;
        let every_third = |row: usize, query: usize, key: usize| !(row + query + key).is_multiple_of(3) || key == query;
        check(sizes, Some(Seen::new([batch, queries, keys], |_, _| 0..keys, every_third)));
        let near = |row: usize, query: usize| query.saturating_sub(9 + row)..(query + 4).min(keys);
        check(sizes, Some(Seen::new([batch, queries, keys], near, |_, _, _| true)));
    }
}

#[test]
fn runs_of_a_query_are_what_was_said() {
    let seen = Seen::new([1, 3, 6], |_, _| 0..6, |_, query, key| key % 3 != 1 && query != 1);
    assert_eq!(seen.of(0, 0), [0..1, 2..4, 5..6]);
    assert!(seen.of(0, 1).is_empty());
    assert_eq!((seen.of(0, 2), seen.by(0, 0..3), seen.by(0, 1..2)), (seen.of(0, 0), 0..6, 0..6));
}

#[test]
fn a_query_that_sees_nothing_has_zeros_and_moves_nothing() {
    let sizes = Sizes { batch: 1, heads: 1, kv_heads: 1, queries: 2, keys: 4, width: [3, 3] };
    let seen = Arc::new(Seen::new([1, 2, 4], |_, _| 0..4, |_, query, _| query == 1));
    let leaves = sizes.case_of(&[1, 2, 3]).map(|x| x.autodiff().require_grad());
    let [query, key, value] = leaves.clone();
    let output = attention(query, key, value, Some(seen), SCALE);
    let first = output.clone().slice_dim(2, 0..1);
    let largest = |x: Tensor<4>| x.abs().max().into_scalar::<f32>().to_bits();
    assert_eq!(largest(first.clone().inner()), 0);
    let mut tape = first.sum().backward();
    let gradients = leaves.map(|leaf| largest(leaf.grad_remove(&mut tape).expect("a gradient")));
    assert_eq!(gradients, [0; 3]);
    assert!(largest(output.inner()) > 0);
}

impl Sizes {
    fn case_of(self, numbers: &[usize; 3]) -> [Tensor<4>; 3] {
        let Self { batch, heads, kv_heads, queries, keys, width } = self;
        [
            made_up([batch, heads, queries, width[0]], numbers[0]),
            made_up([batch, kv_heads, keys, width[0]], numbers[1]),
            made_up([batch, kv_heads, keys, width[1]], numbers[2]),
        ]
    }
}

#[test]
fn bits_do_not_depend_on_threads_or_on_how_values_lie() {
    let run = |threads: usize, apart: bool| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            let leaves = LONG.case_of(&[1, 2, 3]).map(|x| {
                let x = if apart { x.swap_dims(1, 2).mul_scalar(1.0).swap_dims(1, 2) } else { x };
                x.autodiff().require_grad()
            });
            let [query, key, value] = leaves.clone();
            let output = attention(query, key, value, Some(Arc::new(causal(1, LONG))), SCALE);
            let weights = made_up(output.dims(), 9).autodiff();
            let mut tape = (output.clone() * weights).sum().backward();
            let gradients = leaves.map(|leaf| leaf.grad_remove(&mut tape).expect("a gradient").into_data());
            (output.inner().into_data(), gradients)
        })
    };
    let one = run(1, false);
    assert!([(2, false), (3, true), (4, false)].into_iter().all(|(threads, apart)| run(threads, apart) == one));
}

#[test]
fn only_gradients_that_are_wanted_are_made() {
    let [query, key, value] = SMALL.case_of(&[1, 2, 3]);
    let value = value.autodiff().require_grad();
    let output = attention(query.autodiff(), key.autodiff(), value.clone(), None, SCALE);
    let mut tape = output.sum().backward();
    let gradient: f32 = value.grad_remove(&mut tape).expect("a gradient").sum().into_scalar();
    let weights = (SMALL.batch * SMALL.heads * SMALL.queries * SMALL.width[1]) as f32;
    assert!((gradient - weights).abs() < 1e-3 * weights, "{gradient}: every query's weights sum to 1");
}
