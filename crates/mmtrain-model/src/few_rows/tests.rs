use super::*;

fn values(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 7919 + seed * 104_729) % 10_007) as f32 / 10_007.0 - 0.5).collect()
}

#[test]
fn products_with_a_table_are_those_of_burn_and_of_each_row_alone() {
    // Behind vectors and behind tasks there are rests.
    for (rows, input, output) in [(1, 515, 389), (3, 256, 300), (8, 130, 2999), (2, 7, 40), (1, 1000, 66)] {
        let x = Rows { values: values(rows * input, 1), count: rows, input };
        let table = TensorData::new(values(input * output, 2), [output, input]);
        let table = Tensor::<2>::from_data(table, &Device::flex());
        let found = with_table(&x, &table).expect("in host memory");
        let tensor = Tensor::<2>::from_data(TensorData::new(x.values.clone(), [rows, input]), &Device::flex());
        let expected: Vec<f32> = tensor.matmul(table.clone().transpose()).into_data().try_to_vec().expect("f32");
        let far = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(found.len() == expected.len() && far < 1e-4, "{far}");
        for row in 0..rows {
            let alone = Rows { values: x.row(row).to_vec(), count: 1, input };
            assert_eq!(with_table(&alone, &table).expect("in host memory"), found[row * output..][..output]);
        }
    }
}

#[test]
fn many_rows_are_multiplied_with_blocks_of_outputs_on_any_number_of_threads() {
    for (rows, input, output) in [(9, 515, 389), (40, 256, 300), (300, 7, 64), (70, 1000, 1)] {
        let x = Rows { values: values(rows * input, 1), count: rows, input };
        let table = values(input * output, 2);
        let matrix = Tensor::<2>::from_data(TensorData::new(table, [output, input]), &Device::flex());
        let found = with_table(&x, &matrix).expect("in host memory");
        let tensor = Tensor::<2>::from_data(TensorData::new(x.values.clone(), [rows, input]), &Device::flex());
        let expected: Vec<f32> = tensor.matmul(matrix.clone().transpose()).into_data().try_to_vec().expect("f32");
        let far = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(found.len() == expected.len() && far < 1e-4, "{far}");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        assert_eq!(pool.install(|| with_table(&x, &matrix)), Some(found));
    }
}

#[test]
fn what_a_tape_records_and_what_has_many_rows_goes_the_usual_way() {
    let rows = |count| Tensor::<2>::zeros([count, 4], &Device::flex());
    let x = rows(8);
    assert!(takes(&x) && takes(&x.clone().reshape([2, 4, 4])) && !takes(&rows(9)) && takes_all(&rows(9)));
    assert!(!takes(&x.clone().autodiff()) && !takes_all(&x.cast(DType::BF16)));
}

#[test]
fn products_with_the_weight_of_a_layer_are_those_of_burn_and_of_each_row_alone() {
    // Behind vectors, behind four inputs and behind tasks there are rests.
    for (rows, input, output) in
        [(1, 515, 389), (3, 256, 300), (8, 2999, 130), (2, 7, 40), (1, 1001, 67), (1, 3, 70_000)]
    {
        let x = Rows { values: values(rows * input, 1), count: rows, input };
        let weight = TensorData::new(values(input * output, 2), [input, output]);
        let weight = Tensor::<2>::from_data(weight, &Device::flex());
        let found = with_weight(&x, &weight).expect("in host memory");
        let tensor = Tensor::<2>::from_data(TensorData::new(x.values.clone(), [rows, input]), &Device::flex());
        let expected: Vec<f32> = tensor.matmul(weight.clone()).into_data().try_to_vec().expect("f32");
        let far = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(found.len() == expected.len() && far < 1e-3, "{far}");
        for row in 0..rows {
            let alone = Rows { values: x.row(row).to_vec(), count: 1, input };
            assert_eq!(with_weight(&alone, &weight).expect("in host memory"), found[row * output..][..output]);
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        assert_eq!(pool.install(|| with_weight(&x, &weight)), Some(found));
        // What lies in another order is left to Burn.
        assert_eq!(with_weight(&x, &weight.transpose()), None);
    }
}
