//! One safetensors file, read by offset and written as a stream.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use fs_err::File;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::header::{self, Entry};
use super::values::{self, Layout, LoadDtype, Place, Values};
use crate::error::ModelError;

/// Headers above this are refused: the format's own limit.
pub(super) const MAX_HEADER_BYTES: u64 = 100_000_000;

/// A checked header and the file behind it.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    file: File,
    tensors: BTreeMap<String, Entry>,
    data_start: u64,
}

/// A tensor as it lies in the file, widened to f32 (integers: exact up to 2^24).
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTensor {
    /// Shape in the file.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

impl TensorFile {
    /// Opens a file and checks header and length.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let bad = |message: String| ModelError::Safetensors { path: path.to_owned(), message };
        let metadata = fs_err::metadata(path)?;
        if !metadata.is_file() {
            return Err(bad("is no file".into()));
        }
        let mut file = File::open(path)?;
        let length = metadata.len();
        let mut size = [0_u8; 8];
        file.read_exact(&mut size).map_err(|_| bad(format!("{length} bytes are too few for a safetensors file")))?;
        let header_bytes = u64::from_le_bytes(size);
        if header_bytes > MAX_HEADER_BYTES || header_bytes + 8 > length {
            return Err(bad(format!(
                "a header of {header_bytes} bytes in a file of {length}: cut short, or not safetensors"
            )));
        }
        let mut header = vec![0_u8; header_bytes as usize];
        file.read_exact(&mut header)?;
        let tensors = header::parse(&header, length - 8 - header_bytes).map_err(bad)?;
        Ok(Self { path: path.to_owned(), file, tensors, data_start: 8 + header_bytes })
    }

    /// Tensor names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Shape of one tensor.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.get(name).map(|entry| entry.shape.clone())
    }

    /// Number type of one tensor.
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        self.tensors.get(name).map(|entry| entry.dtype)
    }

    /// Reads one tensor.
    pub fn read(&self, name: &str) -> Result<StoredTensor, ModelError> {
        let shape = self.shape(name).unwrap_or_default();
        let (values, _) = self.read_values(name, Layout::AsStored, LoadDtype::F32)?;
        Ok(StoredTensor { shape, values: values.into_f32() })
    }

    /// Reads the bytes of one tensor as they are.
    pub(super) fn read_bytes(&self, name: &str) -> Result<Vec<u8>, ModelError> {
        let bad = |message: String| ModelError::Safetensors { path: self.path.clone(), message };
        let entry = self.tensors.get(name).ok_or_else(|| bad(format!("no tensor `{name}`")))?;
        let mut bytes = vec![0; (entry.end - entry.start) as usize];
        self.file
            .file()
            .read_exact_at(&mut bytes, self.data_start + entry.start)
            .map_err(|error| bad(format!("tensor `{name}`: {error}")))?;
        Ok(bytes)
    }

    /// Reads one tensor chunk by chunk to where it is going to stay; says whether all values are finite.
    pub(super) fn read_values(
        &self,
        name: &str,
        layout: Layout,
        dtype: LoadDtype,
    ) -> Result<(Values, bool), ModelError> {
        let bad = |message: String| ModelError::Safetensors { path: self.path.clone(), message };
        let entry = self.tensors.get(name).ok_or_else(|| bad(format!("no tensor `{name}`")))?;
        let place =
            Place { file: self.file.file(), start: self.data_start + entry.start, bytes: entry.end - entry.start };
        values::read(&place, entry.dtype, layout, dtype)
            .map_err(|error| bad(format!("tensor `{name}`: {error}")))?
            .ok_or_else(|| bad(format!("tensor `{name}` is {:?}, which is not supported", entry.dtype)))
    }
}

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredType {
    /// 32 bits.
    F32,
    /// 16 bits, rounded to the nearest.
    Bf16,
}

impl StoredType {
    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    /// As `torch` calls it.
    pub fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
        }
    }
}

/// Streams f32 tensors as one safetensors file, in the order given.
///
/// `fetch` is called once per tensor, when its turn comes, so that only one is held on the host.
pub fn write_safetensors(
    out: &mut impl Write,
    tensors: &[(String, Vec<usize>)],
    fetch: impl FnMut(usize) -> TensorData,
) -> std::io::Result<()> {
    write_typed(out, tensors, StoredType::F32, None, fetch)
}

/// As [`write_safetensors`], in a type and with metadata of one's own.
pub fn write_typed(
    out: &mut impl Write,
    tensors: &[(String, Vec<usize>)],
    stored: StoredType,
    metadata: Option<&BTreeMap<String, String>>,
    mut fetch: impl FnMut(usize) -> TensorData,
) -> std::io::Result<()> {
    let dtype = match stored {
        StoredType::F32 => Dtype::F32,
        StoredType::Bf16 => Dtype::BF16,
    };
    let listed = tensors.iter().map(|(name, shape)| (name.clone(), shape.clone(), dtype)).collect::<Vec<_>>();
    write_header(out, &listed, metadata)?;
    for index in 0..tensors.len() {
        match stored {
            StoredType::F32 => out.write_all(fetch(index).as_bytes())?,
            StoredType::Bf16 => out.write_all(fetch(index).convert::<half::bf16>().as_bytes())?,
        }
    }
    Ok(())
}

/// The beginning of a file whose tensors, each of its own type, follow one behind the other.
pub(super) fn write_header(
    out: &mut impl Write,
    tensors: &[(String, Vec<usize>, Dtype)],
    metadata: Option<&BTreeMap<String, String>>,
) -> std::io::Result<()> {
    let mut offset = 0;
    let mut infos = Vec::with_capacity(tensors.len());
    for (name, shape, dtype) in tensors {
        let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        let data_offsets = (offset, offset + bytes);
        infos.push((name.clone(), TensorInfo { dtype: *dtype, shape: shape.clone(), data_offsets }));
        offset += bytes;
    }
    let metadata = metadata.map(|pairs| pairs.iter().map(|(key, value)| (key.clone(), value.clone())).collect());
    let metadata = Metadata::new(metadata, infos).map_err(std::io::Error::other)?;
    let mut header = serde_json::to_vec(&metadata)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let tensors = [("a".to_owned(), vec![2]), ("b".to_owned(), vec![1, 3])];
        let mut bytes = Vec::new();
        write_safetensors(&mut bytes, &tensors, |index| match index {
            0 => TensorData::from([1.0_f32, -2.0]),
            _ => TensorData::from([[0.5_f32, 0.25, 8.0]]),
        })
        .expect("writes to memory");
        bytes
    }

    fn open(bytes: &[u8]) -> Result<TensorFile, ModelError> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("x.safetensors");
        fs_err::write(&path, bytes)?;
        TensorFile::open(&path)
    }

    #[test]
    fn what_is_written_is_read_back_and_other_readers_agree() {
        let bytes = sample();
        let file = open(&bytes).expect("opens");
        assert_eq!(file.names().collect::<Vec<_>>(), ["a", "b"]);
        let other = safetensors::SafeTensors::deserialize(&bytes).expect("the crate reads it");
        assert_eq!(other.tensor("b").expect("b").shape(), [1, 3]);
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("x.safetensors");
        fs_err::write(&path, &bytes).expect("written");
        let file = TensorFile::open(&path).expect("opens");
        assert_eq!(file.read("b").expect("b").values, [0.5, 0.25, 8.0]);
    }

    #[test]
    fn damaged_files_are_errors() {
        let bytes = sample();
        for cut in 0..bytes.len() {
            assert!(open(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut lying = bytes.clone();
        lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(open(&lying).is_err());
        let mut garbage = bytes;
        garbage[9] = b'{';
        assert!(open(&garbage).is_err());
    }
}
