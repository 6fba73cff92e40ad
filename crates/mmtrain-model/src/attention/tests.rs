use super::*;
use burn::tensor::{TensorData, Tolerance};

pub(super) fn ramp(shape: [usize; 4]) -> Tensor<4> {
    let n: usize = shape.iter().product();
    let values = (0..n).map(|i| ((i * 37 % 23) as f32 - 11.0) / 7.0).collect::<Vec<_>>();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn equal(a: Tensor<4>, b: Tensor<4>, tolerance: f32) {
    a.into_data().assert_approx_eq::<f32>(&b.into_data(), Tolerance::absolute(tolerance));
}

#[test]
fn grouped_queries_equal_repeated_keys_and_values() {
    let (q, k, v) = (ramp([2, 4, 3, 8]), ramp([2, 2, 3, 8]), ramp([2, 2, 3, 8]));
    let mask = Mask::causal(3, 3, &Device::flex());
    let grouped = attention(q.clone(), k.clone(), v.clone(), Some(&mask));

    let repeat = |x: Tensor<4>| x.reshape([2, 2, 1, 24]).repeat_dim(2, 2).reshape([2, 4, 3, 8]);
    let repeated = attention(q, repeat(k), repeat(v), Some(&mask));
    equal(grouped, repeated, 1e-6);
}

#[test]
fn a_causal_query_does_not_see_later_keys() {
    let (q, k, v) = (ramp([1, 1, 4, 8]), ramp([1, 1, 4, 8]), ramp([1, 1, 4, 8]));
    let full = attention(q.clone(), k.clone(), v.clone(), Some(&Mask::causal(4, 4, &Device::flex())));
    let short = attention(
        q.slice_dim(2, 0..2),
        k.slice_dim(2, 0..2),
        v.slice_dim(2, 0..2),
        Some(&Mask::causal(2, 2, &Device::flex())),
    );
    equal(full.slice_dim(2, 0..2), short, 1e-6);
}

/// Later queries see later keys, in the second row two at a time.
fn latest_of_runs() -> KeyRuns {
    let sees = |row: usize, query: usize, run: usize| run <= query && run + 2 + row > query;
    let row = |row| (0..11).flat_map(move |query| (0..11).map(move |run| sees(row, query, run)));
    KeyRuns { seen: (0..2).flat_map(row).collect(), batch: 2, runs: 11, keys_per_run: 1 }
}

/// Every kind of mask for two rows of 11 positions.
pub(super) fn masks() -> Vec<(&'static str, Option<Mask>)> {
    let device = Device::flex();
    let mut left = vec![1; 22];
    left[..4].fill(0);
    let strangers = (0..22).map(|i| i % 3 == 1).collect::<Vec<_>>();
    vec![
        ("none", None),
        ("causal", Some(Mask::causal(11, 11, &device))),
        ("window", Some(Mask::causal(11, 11, &device).with_window(3))),
        ("left padding", Some(Mask::causal_with_padding(&left, 2, 11, &device))),
        ("packed", Some(Mask::packed(&[vec![4, 7], vec![5, 2, 3]], 11, &device))),
        ("strangers", Some(Mask::strangers(&strangers, 2, &device))),
        ("blocks", Some(Mask::block_diagonal(&[3, 6, 2], &device))),
        ("runs", Some(Mask::key_runs(latest_of_runs(), &device))),
    ]
}

/// Output and gradients of query, key and value, `rows` queries at a time.
///
/// The first four positions, which the left padding covers, do not count.
fn run(mask: Option<&Mask>, rows: usize) -> [Tensor<4>; 4] {
    let tracked = |x: Tensor<4>| x.autodiff().require_grad();
    let (q, k, v) = (tracked(ramp([2, 4, 11, 8])), tracked(ramp([2, 2, 11, 8])), tracked(ramp([2, 2, 11, 8])));
    let output = in_chunks(q.clone(), k.clone(), v.clone(), mask, rows).slice_dim(2, 4..11);
    let weights = (ramp([2, 4, 7, 8]) * 0.3 + 0.1).autodiff();
    let mut tape = (output.clone() * weights).sum().backward();
    let gradients = [q, k, v].map(|x| x.grad_remove(&mut tape).expect("a gradient"));
    let [dq, dk, dv] = gradients;
    [output.inner(), dq, dk, dv]
}

#[test]
fn chunks_give_the_outputs_and_gradients_of_the_whole() {
    for (name, mask) in masks() {
        let whole = run(mask.as_ref(), 11);
        for rows in [1, 4, 10] {
            let chunked = run(mask.as_ref(), rows);
            for (what, (a, b)) in ["output", "query", "key", "value"].iter().zip(whole.iter().zip(&chunked)) {
                let worst: f32 = (a.clone() - b.clone()).abs().max().into_scalar();
                assert!(worst <= 1e-6, "{name}, {rows} rows, {what}: {worst}");
            }
        }
    }
}

/// Output and gradients but for queries that see nothing, whose output nobody reads.
fn ends(way: impl Fn([Tensor<4>; 3]) -> Tensor<4>, mask: Option<&Mask>, kv_heads: usize) -> [Tensor<4>; 4] {
    let inputs = [ramp([2, 4, 11, 8]), ramp([2, kv_heads, 11, 8]) * 0.9, ramp([2, kv_heads, 11, 8]) + 0.2];
    let leaves = inputs.map(|x| x.autodiff().require_grad());
    let output = way(leaves.clone());
    let sees = |row: usize, query: usize| mask.is_none_or(|mask| !mask.seen().of(row, query).is_empty());
    let sees =
        (0..2).flat_map(|row| (0..11).map(move |query| (row, query))).map(|(row, query)| f32::from(sees(row, query)));
    let sees = Tensor::<1>::from_floats(sees.collect::<Vec<_>>().as_slice(), &Device::flex()).reshape([2, 1, 11, 1]);
    let weights = (ramp(output.dims()) * 0.3 + 0.1) * sees.clone();
    let mut tape = (output.clone() * weights.autodiff()).sum().backward();
    let [query, key, value] = leaves.map(|leaf| leaf.grad_remove(&mut tape).expect("a gradient"));
    [output.inner() * sees, query, key, value]
}

#[test]
fn the_kernel_gives_the_outputs_and_gradients_of_plain_operations() {
    for (name, mask) in masks() {
        for kv_heads in [1, 2, 4] {
            let mask = mask.as_ref();
            let kernel = ends(|[q, k, v]| attention(q, k, v, mask), mask, kv_heads);
            let plain = ends(|[q, k, v]| in_chunks(q, k, v, mask, 11), mask, kv_heads);
            for (what, (kernel, plain)) in ["output", "query", "key", "value"].iter().zip(kernel.into_iter().zip(plain))
            {
                let largest: f32 = plain.clone().abs().max().into_scalar();
                let worst: f32 = (kernel - plain).abs().max().into_scalar();
                assert!(worst <= 2e-6 * largest, "{name}, {kv_heads} heads of keys, {what}: {worst} of {largest}");
            }
        }
    }
}

#[test]
fn a_packed_sequence_gets_what_it_gets_alone() {
    let (q, k, v) = (ramp([1, 4, 9, 8]), ramp([1, 2, 9, 8]), ramp([1, 2, 9, 8]));
    let packed = attention(q.clone(), k.clone(), v.clone(), Some(&Mask::packed(&[vec![4, 5]], 9, &Device::flex())));
    let second = |x: Tensor<4>| x.slice_dim(2, 4..9);
    let alone = attention(second(q), second(k), second(v), Some(&Mask::causal(5, 5, &Device::flex())));
    equal(second(packed), alone, 1e-6);
}

#[test]
fn up_to_512_positions_are_one_chunk_and_longer_ones_are_not_quadratic() {
    for len in [1, 100, 511, 512] {
        assert_eq!(rows_per_chunk(len, len), len);
    }
    assert_eq!(rows_per_chunk(1, 100_000), 1);
    assert_eq!(rows_per_chunk(700, 700), 350);
    for len in [1000, 4096] {
        assert!(rows_per_chunk(len, len) * len <= SCORES, "{len}");
    }
    assert_eq!(rows_per_chunk(65_536, 65_536), MIN_ROWS);
}

#[test]
fn a_gpu_takes_more_queries_at_a_time_as_long_as_scores_have_room() {
    assert_eq!(rows_on_gpu(32, 4096, 4096), 2048);
    assert_eq!(rows_on_gpu(16 * 32, 626, 626), 626);
    for (heads, len) in [(32, 4096), (16 * 32, 2048), (64 * 32, 8192)] {
        let rows = rows_on_gpu(heads, len, len);
        assert!(rows == MIN_ROWS || rows * heads * len <= SCORES_OF_GPU, "{heads} {len}: {rows}");
    }
}

#[test]
fn a_tape_on_a_cpu_is_on_a_cpu() {
    let x = ramp([1, 1, 2, 8]);
    assert!(is_cpu(&x) && is_cpu(&x.autodiff()));
}

#[test]
fn a_long_sequence_is_cut_and_stays_the_same() {
    let len = 700;
    let (q, k, v) = (ramp([1, 2, len, 8]), ramp([1, 1, len, 8]), ramp([1, 1, len, 8]));
    for mask in [Mask::causal(len, len, &Device::flex()), Mask::causal(len, len, &Device::flex()).with_window(40)] {
        let cut = attention(q.clone(), k.clone(), v.clone(), Some(&mask));
        equal(cut, in_chunks(q.clone(), k.clone(), v.clone(), Some(&mask), len), 4e-6);
    }
}
