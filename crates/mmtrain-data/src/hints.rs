//! What to do about a reason for which samples are left out.

/// A line of advice for a reason; a general one for a reason that is not known here.
pub fn hint(reason: &str) -> &'static str {
    let known = HINTS.iter().find(|(reasons, _)| reasons.contains(&reason));
    known.map_or("look at the first cases with `mmtrain data show`", |(_, hint)| hint)
}

/// Reasons that want the same advice, and the advice.
const HINTS: &[(&[&str], &str)] = &[
    (
        &["missing_media", "missing_image", "media_unreadable"],
        "unpack the media under the directory of the source, or name their place with `media` and `path_map`",
    ),
    (
        &["media_path_outside"],
        "names must stay below the source's directory; add the other place to `media`, or rewrite it with `path_map`",
    ),
    (&["media_too_short"], "a sound of a few samples has nothing in it; nothing needs to be done"),
    (
        &["no_medium"],
        "leave pairs of text alone out of the data, or `image_conditional` out of the losses, which learns from pictures",
    ),
    (
        &["judged_answer"],
        "`mmtrain dpo` learns from it; with `better_answer = true` of the source `mmtrain sft` learns the better ones",
    ),
    (
        &["no_pair"],
        "`mmtrain sft` learns from answers that nobody judged, `objective.loss = \"kto\"` from answers judged one by one",
    ),
    (&["not_judged"], "KTO learns from single answers; `split_pairs = true` of the source makes two of each pair"),
    (&["media_mismatch"], "the placeholders of the text and the listed media must be as many"),
    (
        &["missing_caption", "empty_caption", "empty_answer"],
        "nothing could be learned from it; nothing needs to be done",
    ),
    (&["too_long"], "raise `data.max_seq`; `data.too_long` says what is cut: `truncate_text` or `shrink`"),
    (
        &["zero_supervised"],
        "the template leaves nothing to learn: another `data.template`, or a conversation that ends with the model",
    ),
    (&["turns_mismatch"], "conversations of several turns need a chat template, such as `data.template = \"chatml\"`"),
    (&["bad_turns"], "user and model have to speak in turn, and the model last; look at the rows in the file"),
    (
        &[
            "image_too_large",
            "audio_too_large",
            "audio_too_long",
            "video_too_large",
            "video_too_long",
            "media_too_large",
        ],
        "raise `[data.limits]` if you trust the files",
    ),
    (
        &["not_an_image", "not_audio", "not_video"],
        "often a web page that a download saved in place of the file; download it again",
    ),
    (
        &[
            "image_truncated_or_corrupt",
            "audio_truncated_or_corrupt",
            "video_truncated_or_corrupt",
            "image_empty",
            "audio_empty",
        ],
        "download the file again",
    ),
    (&["no_ffmpeg"], "install ffmpeg, such as with `apt-get install ffmpeg`"),
    (
        &["unsupported_medium"],
        "the encoder takes another kind of media: set `model.encoder`; clips are seen where `[data.video]` says which frames",
    ),
    (&["unreadable"], "check the disk or the network, then run this again"),
    (&["bad_json", "caption_not_utf8"], "the file is damaged or in another encoding; download it again"),
    (&["identical_answers"], "a pair teaches only where its answers differ; nothing needs to be done"),
    (
        &["shard_cut_short", "shard_damaged", "shard_not_a_tar", "shard_no_samples", "rows_cut_short"],
        "the file is incomplete; download it again",
    ),
    (&["shard_data_after_end"], "unpack it with `tar --ignore-zeros` and pack it as one archive"),
    (
        &["too_slow"],
        "the file makes its decoder work without end, or the disk does not answer: look at the sample by itself",
    ),
    (&["panic", "image_decoder_panic"], "a bug of mmtrain; please report the sample"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_one_line_of_advice() {
        let mut reasons: Vec<&str> = HINTS.iter().flat_map(|(reasons, _)| *reasons).copied().collect();
        let all = reasons.len();
        reasons.sort_unstable();
        reasons.dedup();
        assert_eq!(reasons.len(), all, "a reason stands in two lines");
        assert!(HINTS.iter().all(|(_, hint)| !hint.contains('\n') && hint.len() < 130));
        assert!(hint("too_long").contains("max_seq"));
        assert!(hint("never heard of").contains("data show"));
    }
}
