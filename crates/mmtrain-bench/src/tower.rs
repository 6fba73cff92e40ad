//! A tower forward, as a frozen one runs.

use mmtrain_media::MediaLayout;
use mmtrain_model::config::{EncoderConfig, VitConfig};
use mmtrain_model::encoder::input::MediumView;
use mmtrain_model::flops::{self, Pass};
use mmtrain_train::driver::Trained;

use crate::jobs::smaller;
use crate::shapes::{llava, pixels, precision, random_model, siglip, small, wait};
use crate::{Place, Size, Workload};

pub(crate) fn vit(pictures: usize, Place { device, size, .. }: &Place) -> Workload {
    let config = llava(siglip(), -1, small());
    let config = if *size == Size::Small { smaller(config) } else { config };
    let EncoderConfig::Vit(VitConfig { vision: tower, .. }) = &config.encoder else { unreachable!("it is LLaVA's") };
    let tower = tower.clone();
    let encoder = random_model(&config, Trained::NOTHING, device).encoder;
    let side = tower.image_size;
    let picture = pixels(3 * side * side);
    let device = device.clone();
    let step = move || {
        let layout = MediaLayout::Square { side: side as u32 };
        let views = vec![MediumView { layout: &layout, values: &picture }; pictures];
        let mut inputs = encoder.inputs(&config.encoder, &views, &device).expect("pictures of the tower's size");
        for input in &mut inputs {
            input.values = input.values.clone().cast(precision(&device));
        }
        wait(&encoder.forward(&inputs));
    };
    let patches = (pictures * tower.num_patches()) as f64;
    Workload { step: Box::new(step), tokens: patches, flops: flops::vit(&tower, pictures, Pass::Forward) }
}
