//! Features of a frozen encoder, kept on disk.
//!
//! An encoder that is not trained makes the same features of a medium in every epoch and every run. What it made is an
//! entry of a [`DiskCache`], named by a hash of the encoder's weights, the number type that is computed in, and the
//! medium's values as the encoder gets them. A medium that is there costs a read; the others of a micro-batch go through
//! the encoder together.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use mmtrain_data::DiskCache;
use mmtrain_model::ModelError;
use mmtrain_model::encoder::input::MediumView;
use mmtrain_model::encoder::parts::FeatureParts;

/// First bytes of an entry; the last one is the version.
const MAGIC: &[u8; 8] = b"mmfeats\x01";

/// Features on disk of one encoder.
#[derive(Debug)]
pub struct FeatureCache {
    entries: DiskCache,
    /// Names the encoder.
    encoder: String,
    found: AtomicU64,
    made: AtomicU64,
}

impl FeatureCache {
    /// In `directory`, which is made; all entries have `max_bytes` together. `encoder` is a hash of its weights and sizes.
    pub fn open(directory: &Path, max_bytes: u64, encoder: impl Into<String>) -> std::io::Result<Self> {
        let entries = DiskCache::open(directory, "features", max_bytes)?;
        Ok(Self { entries, encoder: encoder.into(), found: AtomicU64::new(0), made: AtomicU64::new(0) })
    }

    /// Media whose features were there, and media that were encoded, so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.found.load(Ordering::Relaxed), self.made.load(Ordering::Relaxed))
    }

    /// The features of media in their order, as `encode` makes them of those that are not there.
    ///
    /// `parts` says how the features of media lie in a tensor.
    ///
    /// # Errors
    ///
    /// Those of `encode`. A disk that cannot be written costs time, not features.
    pub fn features(
        &self,
        media: &[MediumView<'_>],
        dtype: DType,
        device: &Device,
        parts: impl Fn(&[MediumView<'_>]) -> FeatureParts,
        encode: impl FnOnce(&[MediumView<'_>]) -> Result<Tensor<3>, ModelError>,
    ) -> Result<Tensor<3>, ModelError> {
        let names: Vec<String> = media.iter().map(|medium| self.name(medium, dtype)).collect();
        let mut each: Vec<Option<Tensor<3>>> = names.iter().map(|name| self.get(name, device)).collect();
        let absent: Vec<usize> = (0..media.len()).filter(|&number| each[number].is_none()).collect();
        self.found.fetch_add((media.len() - absent.len()) as u64, Ordering::Relaxed);
        if !absent.is_empty() {
            let views: Vec<MediumView<'_>> = absent.iter().map(|&number| media[number]).collect();
            let made = parts(&views).split(&encode(&views)?, &views);
            for (number, features) in absent.into_iter().zip(made) {
                self.put(&names[number], &features);
                each[number] = Some(features);
            }
        }
        Ok(parts(media).join(each.into_iter().flatten().collect()))
    }

    fn name(&self, medium: &MediumView<'_>, dtype: DType) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.encoder.as_bytes()).update(format!("{dtype:?} {:?}", medium.layout).as_bytes());
        hasher.update(bytemuck::cast_slice(medium.values));
        hasher.finalize().to_hex().to_string()
    }

    fn get(&self, name: &str, device: &Device) -> Option<Tensor<3>> {
        let data = unpacked(&self.entries.get(name)?)?;
        let dtype = data.dtype();
        Some(Tensor::from_data(data, (device, dtype)))
    }

    fn put(&self, name: &str, features: &Tensor<3>) {
        self.made.fetch_add(1, Ordering::Relaxed);
        if let Some(bytes) = packed(&features.to_data()) {
            let _ = self.entries.put(name, &bytes);
        }
    }
}

/// Number types that features have, by the number in an entry.
const DTYPES: [DType; 4] = [DType::F32, DType::BF16, DType::F16, DType::F64];

/// Magic, number type, sizes, values; none for other number types.
fn packed(data: &TensorData) -> Option<Vec<u8>> {
    let dtype = DTYPES.iter().position(|&known| known == data.dtype())?;
    let mut bytes = [&MAGIC[..], &(dtype as u32).to_le_bytes()].concat();
    for size in data.shape().iter() {
        bytes.extend((*size as u64).to_le_bytes());
    }
    bytes.extend_from_slice(data.as_bytes());
    Some(bytes)
}

/// Nothing of bytes that are not as [`packed`] made them.
fn unpacked(bytes: &[u8]) -> Option<TensorData> {
    let (dtype, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    let dtype = *DTYPES.get(u32::from_le_bytes(*dtype) as usize)?;
    let (sizes, values) = rest.split_at_checked(24)?;
    let (sizes, _) = sizes.as_chunks::<8>();
    let shape =
        sizes.iter().map(|&size| usize::try_from(u64::from_le_bytes(size))).collect::<Result<Vec<_>, _>>().ok()?;
    let elements = shape.iter().try_fold(dtype.size(), |product, &size| product.checked_mul(size))?;
    (elements == values.len()).then(|| TensorData::from_bytes_vec(values.to_vec(), shape, dtype))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use mmtrain_media::MediaLayout;

    use super::*;

    const LAYOUT: MediaLayout = MediaLayout::Square { side: 2 };

    /// Two features of width 1 of each medium: the sum and the product of its first two values.
    fn encode(media: &[MediumView<'_>]) -> Tensor<3> {
        let values: Vec<f32> = media
            .iter()
            .flat_map(|medium| [medium.values[0] + medium.values[1], medium.values[0] * medium.values[1]])
            .collect();
        Tensor::from_data(TensorData::new(values, [media.len(), 2, 1]), &Device::flex())
    }

    /// The features of media of these first values, and how many were encoded.
    fn run(cache: &FeatureCache, firsts: &[f32]) -> (Vec<f32>, usize) {
        let values: Vec<Vec<f32>> = firsts.iter().map(|&first| [vec![first, 3.0], vec![0.5; 10]].concat()).collect();
        let views: Vec<_> = values.iter().map(|values| MediumView { layout: &LAYOUT, values }).collect();
        let encoded = Cell::new(0);
        let features = cache.features(
            &views,
            DType::F32,
            &Device::flex(),
            |_| FeatureParts::Tiles,
            |media| {
                encoded.set(media.len());
                Ok(encode(media))
            },
        );
        let data = features.expect("features").into_data();
        assert_eq!(data.shape().as_slice(), [firsts.len(), 2, 1]);
        (data.try_to_vec().expect("f32"), encoded.get())
    }

    #[test]
    fn only_what_is_not_there_is_encoded_and_the_order_stays() {
        let place = tempfile::tempdir().expect("a directory");
        let cache = FeatureCache::open(place.path(), 1 << 20, "tower").expect("opened");
        assert_eq!(run(&cache, &[1.0, 2.0]), (vec![4.0, 3.0, 5.0, 6.0], 2));
        assert_eq!(run(&cache, &[2.0, 7.0, 1.0]), (vec![5.0, 6.0, 10.0, 21.0, 4.0, 3.0], 1));
        assert_eq!(run(&cache, &[7.0, 2.0]), (vec![10.0, 21.0, 5.0, 6.0], 0));
        assert_eq!(cache.counts(), (4, 3));
    }

    #[test]
    fn another_encoder_finds_nothing_of_the_first() {
        let place = tempfile::tempdir().expect("a directory");
        let first = FeatureCache::open(place.path(), 1 << 20, "tower").expect("opened");
        assert_eq!(run(&first, &[1.0]).1, 1);
        let second = FeatureCache::open(place.path(), 1 << 20, "another").expect("opened");
        assert_eq!(run(&second, &[1.0]).1, 1);
        let again = FeatureCache::open(place.path(), 1 << 20, "tower").expect("opened");
        assert_eq!(run(&again, &[1.0]).1, 0);
    }

    #[test]
    fn entries_that_are_something_else_are_none() {
        let data = TensorData::new(vec![1.0_f32, 2.0], [1, 2, 1]);
        let whole = packed(&data).expect("f32");
        assert_eq!(unpacked(&whole), Some(data));
        for at in 0..whole.len() {
            assert_eq!(unpacked(&whole[..at]), None, "{at}");
        }
        let mut huge = whole;
        huge[12..20].fill(0xff);
        assert_eq!(unpacked(&huge), None);
    }
}
