//! The formats, one module per real data set or pair of like ones.

mod cc3m;
mod clotho;
mod clotho_aqa;
mod ids;
mod llava_instruct;
mod llava_rows;
mod msr_vtt;
mod parquet_file;
mod preference;
mod reading;
mod sharegpt4v;
mod video_chatgpt;
mod wavcaps;

use crate::output::Output;
use crate::{Like, SynthError};

/// Writes the files of a data set like `like`.
pub(crate) fn write(like: Like, output: &Output<'_>) -> Result<(), SynthError> {
    match like {
        Like::Cc3m => cc3m::write(output),
        Like::ShareGpt4v => sharegpt4v::write(output),
        Like::LlavaInstruct => llava_instruct::write(output),
        Like::Llavar => reading::write(output, reading::Set::Llavar),
        Like::Reading => reading::write(output, reading::Set::Reading),
        Like::MsrVtt => msr_vtt::write(output),
        Like::VideoChatGpt => video_chatgpt::write(output),
        Like::WavCaps => wavcaps::write(output),
        Like::Clotho => clotho::write(output),
        Like::ClothoAqa => clotho_aqa::write(output),
        Like::RlhfV => preference::write(output, preference::Set::RlhfV),
        Like::RlaifV => preference::write(output, preference::Set::RlaifV),
    }
}
