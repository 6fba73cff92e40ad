use super::*;

fn values(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 7919 + seed * 104_729) % 10_007) as f32 / 10_007.0 - 0.5).collect()
}

/// In f64. `[rows, output]`
fn expected(x: &Rows, output: usize, weight: impl Fn(usize, usize) -> f32) -> Vec<f64> {
    let value = |row: usize, output: usize| {
        (0..x.input).map(|input| f64::from(x.row(row)[input]) * f64::from(weight(input, output))).sum()
    };
    (0..x.rows * output).map(|place| value(place / output, place % output)).collect()
}

#[test]
fn dense_products_are_those_of_both_layouts_of_the_weight() {
    // Rests behind vectors, behind four inputs, behind tiles of columns.
    for (rows, input, output) in [(1, 515, 389), (3, 256, 300), (8, 129, 8999), (2, 70, 4100), (1, 1000, 66)] {
        let x = Rows { values: values(rows * input, 1), rows, input };
        let weight = values(input * output, 2);
        let far = |found: Vec<f32>, expected: Vec<f64>| {
            assert_eq!(found.len(), expected.len());
            found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max)
        };
        let tensor = |shape: [usize; 2]| Tensor::<2>::from_data(TensorData::new(weight.clone(), shape), &Device::flex());
        let found = dense(&x, &tensor([input, output])).expect("large enough");
        assert!(far(found, expected(&x, output, |i, o| weight[i * output + o])) < 1e-4);
        let found = dense(&x, &tensor([output, input]).transpose()).expect("large enough");
        assert!(far(found, expected(&x, output, |i, o| weight[o * input + i])) < 1e-4);
    }
}

#[test]
fn a_row_is_the_same_alone_and_among_others() {
    let (input, output) = (384, 512);
    let all = values(5 * input, 3);
    let weight = Tensor::<2>::from_data(TensorData::new(values(input * output, 4), [input, output]), &Device::flex());
    for weight in [weight.clone(), weight.transpose().reshape([input, output]), weight.clone().reshape([output, input]).transpose()] {
        let together = dense(&Rows { values: all.clone(), rows: 5, input }, &weight).expect("large enough");
        for (row, x) in all.chunks_exact(input).enumerate() {
            let alone = dense(&Rows { values: x.to_vec(), rows: 1, input }, &weight).expect("large enough");
            assert_eq!(alone, together[row * output..][..output]);
        }
    }
}

#[test]
fn what_a_tape_records_and_what_has_many_rows_goes_the_usual_way() {
    let x = Tensor::<2>::zeros([8, 4], &Device::flex());
    assert!(takes(&x) && takes(&x.clone().reshape([2, 4, 4])));
    assert!(!takes(&Tensor::<2>::zeros([9, 4], &Device::flex())));
    assert!(!takes(&x.clone().autodiff()) && !takes(&x.cast(DType::BF16)));
}
