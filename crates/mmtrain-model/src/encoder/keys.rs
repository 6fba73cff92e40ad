//! Names of a tower's parameters in checkpoints, where they are not CLIP's.

use crate::config::VisionFamily;

/// (ours, theirs), applied in turn to a path such as `encoder.layers.0.layer_norm1.weight`.
type Table = &'static [(&'static str, &'static str)];

/// `modeling_dinov2.py` as its checkpoints have it.
const DINOV2: Table = &[
    ("embeddings.class_embedding", "embeddings.cls_token"),
    ("embeddings.patch_embedding.", "embeddings.patch_embeddings.projection."),
    ("embeddings.position_embedding", "embeddings.position_embeddings"),
    ("encoder.layers.", "encoder.layer."),
    (".layer_norm1.", ".norm1."),
    (".layer_norm2.", ".norm2."),
    (".self_attn.q_proj.", ".attention.attention.query."),
    (".self_attn.k_proj.", ".attention.attention.key."),
    (".self_attn.v_proj.", ".attention.attention.value."),
    (".self_attn.out_proj.", ".attention.output.dense."),
    ("post_layernorm.", "layernorm."),
];

/// `modeling_blip_2.py`.
const BLIP2: Table = &[(".self_attn.out_proj.", ".self_attn.projection.")];

/// The families whose names differ from CLIP's and from each other's.
const FAMILIES: [VisionFamily; 3] =
    [VisionFamily::Clip, VisionFamily::Dinov2 { gated_mlp: false, registers: 0 }, VisionFamily::Blip2];

/// The path of a tower's parameter in the family's checkpoints, without a prefix.
pub fn hub_path(family: VisionFamily, path: &str) -> String {
    let table = match family {
        VisionFamily::Dinov2 { .. } => DINOV2,
        VisionFamily::Blip2 => BLIP2,
        VisionFamily::Clip | VisionFamily::Siglip | VisionFamily::Idefics3 | VisionFamily::SmolVlm => &[],
    };
    table.iter().fold(path.to_owned(), |path, (ours, theirs)| path.replace(ours, theirs))
}

/// What stands before a tower's paths: LLaVA on the Hub first, then other spellings of LLaVA,
/// two-tower models and BLIP-2, Idefics3, Qwen2-VL, a bare tower, Qwen2-Audio, Whisper.
const PREFIXES: [&str; 14] = [
    "vision_tower.vision_model.",
    "model.vision_tower.vision_model.",
    "vision_tower.",
    "model.vision_tower.",
    "vision_model.",
    "model.vision_tower.vision_tower.vision_model.",
    "model.vision_model.",
    "visual.",
    "model.visual.",
    "",
    "audio_tower.",
    "model.audio_tower.",
    "model.encoder.",
    "encoder.",
];

/// Every key under which a tower's parameter is published, the most usual first.
pub fn aliases(path: &str) -> Vec<String> {
    let with_prefixes = |path: String| PREFIXES.map(|prefix| format!("{prefix}{path}"));
    spellings(path).into_iter().flat_map(with_prefixes).collect()
}

/// The path of a parameter of Qwen2-VL's merger in its checkpoints.
pub fn merger_path(path: &str) -> String {
    path.replace("linear_1.", "mlp.0.").replace("linear_2.", "mlp.2.")
}

/// Every key under which a parameter of Qwen2-VL's merger is published.
pub fn merger_aliases(path: &str) -> Vec<String> {
    let path = merger_path(path);
    ["visual.merger.", "model.visual.merger.", "merger."].map(|prefix| format!("{prefix}{path}")).to_vec()
}

/// Every path that a parameter has in the checkpoints of some family, ours first.
fn spellings(path: &str) -> Vec<String> {
    let mut paths = Vec::with_capacity(FAMILIES.len());
    for spelled in FAMILIES.map(|family| hub_path(family, path)) {
        if !paths.contains(&spelled) {
            paths.push(spelled);
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dinov2_has_names_of_its_own() {
        let family = VisionFamily::Dinov2 { gated_mlp: true, registers: 4 };
        let cases = [
            ("embeddings.class_embedding", "embeddings.cls_token"),
            ("embeddings.register_tokens", "embeddings.register_tokens"),
            ("embeddings.position_embedding", "embeddings.position_embeddings"),
            ("embeddings.patch_embedding.bias", "embeddings.patch_embeddings.projection.bias"),
            ("encoder.layers.11.self_attn.k_proj.weight", "encoder.layer.11.attention.attention.key.weight"),
            ("encoder.layers.3.self_attn.out_proj.bias", "encoder.layer.3.attention.output.dense.bias"),
            ("encoder.layers.3.layer_scale2.lambda1", "encoder.layer.3.layer_scale2.lambda1"),
            ("encoder.layers.3.mlp.weights_in.weight", "encoder.layer.3.mlp.weights_in.weight"),
            ("encoder.layers.3.layer_norm2.weight", "encoder.layer.3.norm2.weight"),
            ("post_layernorm.weight", "layernorm.weight"),
        ];
        for (ours, theirs) in cases {
            assert_eq!(hub_path(family, ours), theirs);
        }
    }

    #[test]
    fn the_mergers_layers_are_numbered_with_their_activation() {
        assert!(merger_aliases("linear_2.bias").contains(&"visual.merger.mlp.2.bias".to_owned()));
        assert!(merger_aliases("linear_1.weight").contains(&"model.visual.merger.mlp.0.weight".to_owned()));
        assert!(merger_aliases("ln_q.weight").contains(&"merger.ln_q.weight".to_owned()));
    }

    #[test]
    fn towers_stand_in_larger_checkpoints() {
        let known = |path: &str, key: &str| assert!(aliases(path).contains(&key.to_owned()), "{key}");
        known("blocks.0.attn.qkv.bias", "visual.blocks.0.attn.qkv.bias");
        known("conv1.weight", "model.encoder.conv1.weight");
        known("layers.0.fc1.bias", "audio_tower.layers.0.fc1.bias");
        known("post_layernorm.weight", "model.vision_model.post_layernorm.weight");
        known("post_layernorm.weight", "vision_tower.layernorm.weight");
    }

    #[test]
    fn what_all_families_call_alike_has_one_spelling() {
        assert_eq!(spellings("encoder.layers.0.self_attn.qkv.bias").len(), 2);
        assert_eq!(spellings("embeddings.register_tokens"), ["embeddings.register_tokens"]);
        assert_eq!(
            spellings("encoder.layers.0.self_attn.out_proj.weight"),
            [
                "encoder.layers.0.self_attn.out_proj.weight",
                "encoder.layer.0.attention.output.dense.weight",
                "encoder.layers.0.self_attn.projection.weight"
            ]
        );
    }
}
