//! The data sets themselves. Places, sizes and licences are those that their pages say.

use super::DatasetPreset;
use crate::FormatKind;

/// By stage: captions, instructions, clips and sounds, preferences.
pub(super) static PRESETS: [DatasetPreset; 22] = [
    DatasetPreset {
        name: "cc3m",
        format: FormatKind::WebDataset,
        path: "datasets/cc3m",
        description: "Conceptual Captions 3M: 2.9 million web images with cleaned alt texts",
        layout: "tar shards `cc3m-train-0000.tar` to `cc3m-train-0575.tar` and `cc3m-validation-0000.tar` to \
                 `cc3m-validation-0015.tar` (any number of them), members `KEY.jpg`, `KEY.txt` (the caption) and \
                 `KEY.json`",
        how_to_get: "download the shards of https://huggingface.co/datasets/pixparse/cc3m-wds (280 GB; a few shards \
                     are enough to start), or make a small stand-in: `mmtrain data synth --like cc3m --out \
                     datasets/cc3m --samples 20000 --seed 7`",
        synth: true,
    },
    DatasetPreset {
        name: "cc3m-tsv",
        format: FormatKind::Cc3mTsv,
        path: "datasets/cc3m-tsv",
        description: "Conceptual Captions 3M as its list of captions and addresses, with pictures that you downloaded",
        layout: "`Train_GCC-training.tsv` and the pictures; `columns = [\"caption\", \"url\", \"file\"]` where a third \
                 column names each picture's file",
        how_to_get: "the list is on https://ai.google.com/research/ConceptualCaptions/download; pictures have to be \
                     downloaded one by one, and of 100 some 15 are gone",
        synth: false,
    },
    DatasetPreset {
        name: "llava-pretrain",
        format: FormatKind::Llava,
        path: "datasets/llava-pretrain",
        description: "LLaVA's alignment stage: 558,128 pictures of LAION, CC and SBU with captions",
        layout: "`blip_laion_cc_sbu_558k.json` and `images.zip` (not unpacked) or `images/00453/004539375.jpg`",
        how_to_get: "download https://huggingface.co/datasets/liuhaotian/LLaVA-Pretrain (27 GB; licence: see its page)",
        synth: false,
    },
    DatasetPreset {
        name: "llava-cc3m-595k",
        format: FormatKind::Llava,
        path: "datasets/llava-cc3m-595k",
        description: "LLaVA's first alignment stage: 595,375 pictures of CC3M with captions",
        layout: "`chat.json` and `images.zip` (not unpacked) or `images/GCC_train_002582585.jpg`",
        how_to_get: "download https://huggingface.co/datasets/liuhaotian/LLaVA-CC3M-Pretrain-595K (6.7 GB; licence: \
                     see its page)",
        synth: false,
    },
    DatasetPreset {
        name: "sharegpt4v",
        format: FormatKind::Sharegpt4v,
        path: "datasets/sharegpt4v",
        description: "ShareGPT4V: 102,025 pictures described at length by GPT-4V",
        layout: "`sharegpt4v_instruct_gpt4-vision_cap100k.json` and the pictures as it names them: `coco/train2017/`, \
                 `llava/llava_pretrain/images/`, `sam/images/`, …",
        how_to_get: "download the file from https://huggingface.co/datasets/Lin-Chen/ShareGPT4V and the pictures as \
                     its page says (for research only); `path_map` saves links to pictures that lie elsewhere, or make \
                     a small stand-in: `mmtrain data synth --like sharegpt4v --out datasets/sharegpt4v --samples 20000 \
                     --seed 7`",
        synth: true,
    },
    DatasetPreset {
        name: "sharegpt4v-pt",
        format: FormatKind::Sharegpt4v,
        path: "datasets/sharegpt4v-pt",
        description: "ShareGPT4V-PT: 1.2 million pictures described by the captioner of ShareGPT4V",
        layout: "`share-captioner_coco_lcs_sam_1246k_1107.json` and the pictures as it names them: `coco/train2017/`, \
                 `llava/llava_pretrain/images/`, `sam/images/`",
        how_to_get: "download the file from https://huggingface.co/datasets/Lin-Chen/ShareGPT4V and the pictures as \
                     its page says (for research only)",
        synth: false,
    },
    DatasetPreset {
        name: "llava-instruct",
        format: FormatKind::Llava,
        path: "datasets/llava-instruct",
        description: "LLaVA-Instruct-150K: 157,712 conversations about pictures of COCO",
        layout: "`llava_instruct_150k.json` and COCO's pictures, `train2017/000000033471.jpg`",
        how_to_get: "download the file from https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K (for \
                     research only) and http://images.cocodataset.org/zips/train2017.zip (18 GB), or make a small \
                     stand-in: `mmtrain data synth --like llava-instruct --out datasets/llava-instruct --samples 20000 \
                     --seed 7`",
        synth: true,
    },
    DatasetPreset {
        name: "llavar",
        format: FormatKind::Llava,
        path: "datasets/llavar",
        description: "LLaVAR's pretraining data: 422K pictures of LAION with what is written there",
        layout: "`chat_llavar.json` and the pictures, `images/`",
        how_to_get: "download the list and the pictures as https://llavar.github.io describes, or make a small \
                     stand-in: `mmtrain data synth --like llavar --out datasets/llavar --samples 20000 --seed 7`",
        synth: true,
    },
    DatasetPreset {
        name: "reading",
        format: FormatKind::Llava,
        path: "datasets/reading",
        description: "made-up signs, price tags, tickets and code, with questions about what is written there",
        layout: "`reading_instruct.json` and the pictures, `textvqa/train_images/`",
        how_to_get: "make it: `mmtrain data synth --like reading --out datasets/reading --samples 20000 --seed 7`",
        synth: true,
    },
    DatasetPreset {
        name: "llava-mix665k",
        format: FormatKind::Llava,
        path: "datasets/llava-mix665k",
        description: "LLaVA-1.5's instruction data: 665,298 conversations about pictures of several sets, and text \
                      alone",
        layout: "`llava_v1_5_mix665k.json`, `coco/train2017/`, `gqa/images/`, `ocr_vqa/images/`, \
                 `textvqa/train_images/`, `vg/VG_100K/`, `vg/VG_100K_2/`",
        how_to_get: "download the file from https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K (for \
                     research only) and the pictures as https://github.com/haotian-liu/LLaVA lists them",
        synth: false,
    },
    DatasetPreset {
        name: "coco-captions",
        format: FormatKind::Coco,
        path: "datasets/coco-captions",
        description: "COCO Captions: 118,287 pictures with five captions each",
        layout: "`annotations/captions_train2017.json`, `annotations/captions_val2017.json`, `train2017/`, `val2017/` \
                 (or Karpathy's `coco_karpathy_train.json`, … with `train2014/`, `val2014/`)",
        how_to_get: "download the files that https://cocodataset.org/#download lists (19 GB; annotations CC BY 4.0)",
        synth: false,
    },
    DatasetPreset {
        name: "msr-vtt",
        format: FormatKind::MsrVtt,
        path: "datasets/msr-vtt",
        description: "MSR-VTT: 10,000 clips with 20 captions each",
        layout: "`train_val_videodatainfo.json`, `test_videodatainfo.json`, `TrainValVideo/video0.mp4`, \
                 `TestVideo/video7010.mp4` (or the archives with them)",
        how_to_get: "the official archives; copies are linked from https://github.com/ArrowLuo/CLIP4Clip (for research \
                     only), or make a small \
                     stand-in: `mmtrain data synth --like msr-vtt --out datasets/msr-vtt --samples 2000 --seed 7`",
        synth: true,
    },
    DatasetPreset {
        name: "video-chatgpt",
        format: FormatKind::VideoChatgpt,
        path: "datasets/video-chatgpt",
        description: "VideoInstruct-100K of Video-ChatGPT: questions and answers about clips of ActivityNet",
        layout: "`VideoInstruct100K.json` and the clips, `videos/v_k_ZXmr8pmrs.mp4` (or .mkv, .webm, .avi, .mov)",
        how_to_get: "download what https://github.com/mbzuai-oryx/Video-ChatGPT lists (its pages differ on the \
                     licence), or make a small stand-in: \
                     `mmtrain data synth --like video-chatgpt --out datasets/video-chatgpt --samples 2000 --seed 7`",
        synth: true,
    },
    DatasetPreset {
        name: "llava-video",
        format: FormatKind::LlavaVideo,
        path: "datasets/llava-video",
        description: "LLaVA-Video-178K: questions, answers and descriptions of clips",
        layout: "for each part its directory, such as `0_30_s_nextqa/`, with its `.json` files and its clips unpacked \
                 there",
        how_to_get: "download parts of https://huggingface.co/datasets/lmms-lab/LLaVA-Video-178K (for research only) \
                     and unpack the `.tar.gz` of clips",
        synth: false,
    },
    DatasetPreset {
        name: "wavcaps",
        format: FormatKind::Wavcaps,
        path: "datasets/wavcaps",
        description: "WavCaps: 403,050 sounds with captions",
        layout: "`json_files/AudioSet_SL/as_final.json`, … and the sounds by part: `audio/AudioSet_SL/*.flac`, \
                 `audio/FreeSound/`, … (or a zip file in each)",
        how_to_get: "download https://huggingface.co/datasets/cvssp/WavCaps (SoundBible alone is 0.6 GB, all of it 2.2 \
                     TB; for research only); join split archives with `zip -s 0 X.zip --out whole.zip`, \
                     or make a small stand-in: `mmtrain data synth --like wavcaps --out datasets/wavcaps --samples 2000 \
                     --seed 7`",
        synth: true,
    },
    DatasetPreset {
        name: "clotho",
        format: FormatKind::Clotho,
        path: "datasets/clotho",
        description: "Clotho v2.1: 5,929 sounds with five captions each",
        layout: "`clotho_captions_development.csv`, … and the sounds in `development/`, `validation/`, `evaluation/`",
        how_to_get: "download https://zenodo.org/records/4783391 and unpack its `.7z` files (11 GB; captions not for \
                     commercial use), or make a small \
                     stand-in: `mmtrain data synth --like clotho --out datasets/clotho --samples 2000 --seed 7`",
        synth: true,
    },
    DatasetPreset {
        name: "clotho-aqa",
        format: FormatKind::ClothoAqa,
        path: "datasets/clotho-aqa",
        description: "Clotho-AQA: 1,991 sounds with six questions each, answered by three people",
        layout: "`clotho_aqa_train.csv`, `clotho_aqa_val.csv`, `clotho_aqa_test.csv` and the sounds in `audio_files/`",
        how_to_get: "download https://zenodo.org/records/6473207 (3.7 GB), `audio_files.zip` as it is or unpacked, or make \
                     a small stand-in: `mmtrain data synth --like clotho-aqa --out datasets/clotho-aqa --samples 2000 --seed 7`",
        synth: true,
    },
    DatasetPreset {
        name: "rlhf-v",
        format: FormatKind::RlhfV,
        path: "datasets/rlhf-v",
        description: "RLHF-V: 5,733 pairs of answers, corrected by people",
        layout: "`RLHF-V-Dataset.parquet`, which has the pictures in it",
        how_to_get: "download https://huggingface.co/datasets/openbmb/RLHF-V-Dataset (CC BY-NC 4.0), or make a small \
                     stand-in: `mmtrain data synth --like rlhf-v --out datasets/rlhf-v --samples 20000 --seed 7`",
        synth: true,
    },
    DatasetPreset {
        name: "rlaif-v",
        format: FormatKind::RlaifV,
        path: "datasets/rlaif-v",
        description: "RLAIF-V: 83,132 pairs of answers, judged by models",
        layout: "`RLAIF-V-Dataset_000.parquet` to `RLAIF-V-Dataset_013.parquet` (any number of them), which have the \
                 pictures in them",
        how_to_get: "download https://huggingface.co/datasets/openbmb/RLAIF-V-Dataset (CC BY-NC 4.0), or make a small \
                     stand-in: `mmtrain data synth --like rlaif-v --out datasets/rlaif-v --samples 20000 --seed 7`",
        synth: true,
    },
    DatasetPreset {
        name: "vlfeedback",
        format: FormatKind::Vlfeedback,
        path: "datasets/vlfeedback",
        description: "VLFeedback: 80,258 questions with four answers each, rated by GPT-4V",
        layout: "the `.parquet` files and the zip file of pictures (not unpacked)",
        how_to_get: "download https://huggingface.co/datasets/MMInstruction/VLFeedback (licence: see its page)",
        synth: false,
    },
    DatasetPreset {
        name: "povid",
        format: FormatKind::Povid,
        path: "datasets/povid",
        description: "POVID: 17,184 pairs whose worse answer invents things",
        layout: "`POVID_preference_data_for_VLLMs.json` and COCO's pictures, \
                 `data/coco/COCO_train2014_000000000009.jpg`; `path_map` where they lie elsewhere",
        how_to_get: "download https://huggingface.co/datasets/YiyangAiLab/POVID_preference_data_for_VLLMs and \
                     http://images.cocodataset.org/zips/train2014.zip",
        synth: false,
    },
    DatasetPreset {
        name: "mmpr",
        format: FormatKind::Mmpr,
        path: "datasets/mmpr",
        description: "MMPR: some 3 million pairs about pictures of many sets",
        layout: "`meta.json`, `annotations/` and `images/`, unpacked from its archives",
        how_to_get: "download https://huggingface.co/datasets/OpenGVLab/MMPR (MIT)",
        synth: false,
    },
];
