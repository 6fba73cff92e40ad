//! A tower forward, as a frozen one runs.

use mmtrain_media::MediaLayout;
use mmtrain_model::encoder::input::MediumView;
use mmtrain_model::flops::{self, Pass};
use mmtrain_train::driver::Trained;

use crate::shapes::{llava, pixels, random_model, siglip, small, wait};
use crate::{Place, Workload};

const PICTURES: usize = 8;

pub(crate) fn vit(Place { device, .. }: &Place) -> Workload {
    let tower = siglip();
    let config = llava(tower.clone(), -1, small());
    let encoder = random_model(&config, Trained::NOTHING, device).encoder;
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
