//! Samples to the bytes of a WAV file: RIFF, PCM, mono, 16 bit.

/// Bytes of the header.
const HEADER: u32 = 44;

/// The whole file.
pub(crate) fn wav(samples: &[i16], rate: u32) -> Vec<u8> {
    let data = samples.len() as u32 * 2;
    let mut file = Vec::with_capacity((HEADER + data) as usize);
    file.extend(b"RIFF");
    file.extend((HEADER - 8 + data).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    file.extend(1_u16.to_le_bytes()); // PCM
    file.extend(1_u16.to_le_bytes()); // channels
    file.extend(rate.to_le_bytes());
    file.extend((rate * 2).to_le_bytes()); // bytes a second
    file.extend(2_u16.to_le_bytes()); // bytes a sample of all channels
    file.extend(16_u16.to_le_bytes()); // bits a sample
    file.extend(b"data");
    file.extend(data.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    file
}
