//! InstructBLIP's Q-Former.

use super::*;
use crate::config::InstructionConfig;
use crate::params::{assign, named};

const SIZES: InstructionConfig = InstructionConfig { vocab_size: 11, max_position_embeddings: 6 };

fn sizes(instruction: Option<InstructionConfig>) -> QFormerConfig {
    let ConnectorConfig::QFormer(plain) = q_former() else { unreachable!("it is one") };
    QFormerConfig { instruction, ..plain }
}

fn new(instruction: Option<InstructionConfig>) -> QFormerConnector {
    QFormerConnector::new(&sizes(instruction), VISION_HIDDEN, HIDDEN, &Device::flex())
}

fn instruction(ids: &[Vec<usize>]) -> Instruction {
    Instruction::new(ids, &SIZES, &Device::flex()).expect("fits the tables")
}

fn recorded() -> (QFormerConnector, TensorFile) {
    let dir = case("instruct_q_former");
    (load(new(Some(SIZES)), &dir), TensorFile::open(&dir.join("io.safetensors")).expect("io"))
}

/// The recorded instructions without their padding.
fn recorded_ids(io: &TensorFile) -> Vec<Vec<usize>> {
    let [ids, mask] = ["in.input_ids", "in.attention_mask"].map(|name| io.read(name).expect("recorded"));
    let len = ids.shape[1];
    let rows = ids.values.chunks_exact(len).zip(mask.values.chunks_exact(len));
    let words = |(ids, mask): (&[f32], &[f32])| {
        ids.iter().zip(mask).filter(|(_, keep)| **keep > 0.0).map(|(id, _)| *id as usize).collect()
    };
    rows.map(words).collect()
}

#[test]
fn an_instructed_q_former_equals_transformers() {
    let (_, io) = recorded();
    let instruction = instruction(&recorded_ids(&io));
    check_tokens(new(Some(SIZES)), "instruct_q_former", |q_former, features| {
        q_former.forward_instructed(&features, Some(&instruction))
    });
}

#[test]
fn padding_changes_nothing_and_every_word_something() {
    let (q_former, io) = recorded();
    let second = read::<3>(&io, "in.features").slice_dim(0, 1..2);
    let run = |ids: &[usize]| q_former.forward_instructed(&second, Some(&instruction(&[ids.to_vec()])));
    let expected = read::<3>(&io, "out.tokens").slice_dim(0, 1..2);
    assert_eq!(recorded_ids(&io), [vec![3, 10, 7, 3], vec![5, 1]]);
    assert!(difference(run(&[5, 1]), expected.clone()) <= 2e-5);
    for other in [&[5, 1, 0][..], &[5], &[1, 5]] {
        assert!(difference(run(other), expected.clone()) > 1e-3, "{other:?}");
    }
}

/// The queries' part of the weights is a Q-Former of BLIP-2, but for the name of the first norm.
#[test]
fn without_an_instruction_it_is_blip_2s() {
    let (instructed, io) = recorded();
    let mut values = named(&instructed, Part::Connector)
        .into_iter()
        .map(|param| (param.info.name.replace("embeddings.layernorm", "layernorm"), param.value))
        .collect::<FlatTensors>();
    let plain = assign(new(None), Part::Connector, &mut |info| Some(values.remove(&info.name).expect("has it")));
    assert!(
        values
            .keys()
            .all(|name| [".word_", ".position_", ".intermediate.", ".output."].iter().any(|part| name.contains(part)))
    );
    let features = read::<3>(&io, "in.features");
    assert_eq!(instructed.forward(&features).into_data(), plain.forward(&features).into_data());
}

#[test]
fn instructions_that_the_tables_do_not_hold_are_refused() {
    let message = |ids: &[Vec<usize>]| Instruction::new(ids, &SIZES, &Device::flex()).expect_err("refused").to_string();
    assert!(message(&[vec![1; 7], vec![2]]).contains("7 tokens, the Q-Former has 6 positions"));
    assert!(message(&[vec![1], vec![11]]).contains("token 11 in an instruction, the Q-Former has 11 words"));
    assert!(message(&[vec![], vec![]]).contains("no instruction has a token"));
}
