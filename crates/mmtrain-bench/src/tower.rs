//! A tower forward, as a frozen one runs.

use burn::prelude::*;
use mmtrain_media::MediaLayout;
use mmtrain_model::Vlm;
use mmtrain_model::encoder::input::MediumView;
use mmtrain_model::flops::{self, Pass};
use mmtrain_model::precision::computing;

use crate::Workload;
use crate::shapes::{model, pixels, precision, siglip, small, wait};

const PICTURES: usize = 8;

pub(crate) fn vit(device: &Device) -> Workload {
    let tower = siglip();
    let config = model(Some(tower.clone()), small());
    let encoder = computing(&Vlm::random(&config, 7, device).encoder, precision(device)).into_owned();
    let side = tower.image_size;
    let picture = pixels(3 * side * side);
    let device = device.clone();
    let step = move || {
        let layout = MediaLayout::Square { side: side as u32 };
        let views = [MediumView { layout: &layout, values: &picture }; PICTURES];
        let inputs = encoder.inputs(&config.encoder, &views, &device).expect("pictures of the tower's size");
        wait(&encoder.forward(&inputs));
    };
    let patches = (PICTURES * tower.num_patches()) as f64;
    Workload { step: Box::new(step), tokens: patches, flops: flops::vit(&tower, PICTURES, Pass::Forward) }
}
