//! cuBLASLt on the memory of tensors.
//!
//! Burn queues its work on streams that it keeps to itself, so each product is fenced: what Burn has queued ends before it begins, and it
//! ends before Burn goes on. The two lines that do so are what a stream handed out by cubecl would save.

use std::sync::Arc;

use burn::backend::Cube;
use burn::prelude::*;
use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};
use cubecl::cuda::CudaRuntime;
use cubecl_runtime::runtime::Runtime;
use cudarc::cublaslt::{CudaBlasLT, Matmul, MatmulConfig, result::CublasError, sys};
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DriverError};
use half::bf16;

/// What keeps a product from being made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The library is not installed.
    #[error("there is no cuBLASLt here (libcublasLt.so)")]
    NoLibrary,
    /// The driver.
    #[error("CUDA: {0}")]
    Driver(#[from] DriverError),
    /// The library.
    #[error("cuBLASLt: {0:?}")]
    Library(#[from] CublasError),
    /// A tensor that is not on a CUDA device, or whose memory Burn does not hand out.
    #[error("not in CUDA memory: {0}")]
    Elsewhere(String),
    /// Shapes or types that it takes no product of.
    #[error("no product of {a:?} and {b:?} in {dtype:?}")]
    Operands {
        /// Shape of the first.
        a: [usize; 2],
        /// Shape of the second.
        b: [usize; 2],
        /// Type of the first.
        dtype: DType,
    },
}

/// cuBLASLt on one GPU.
#[derive(Debug)]
pub struct Products {
    library: CudaBlasLT,
    stream: Arc<CudaStream>,
}

impl Products {
    /// On a CUDA device.
    pub fn new(device: &Device) -> Result<Self, Error> {
        let CubeDevice::Cuda(gpu) = held(Tensor::<1>::zeros([1], device))?.device else {
            return Err(Error::Elsewhere(format!("{device:?}")));
        };
        if !is_installed() {
            return Err(Error::NoLibrary);
        }
        // The device's primary context, in which Burn's memory lies as well.
        let stream = CudaContext::new(gpu.index)?.new_stream()?;
        Ok(Self { library: CudaBlasLT::new(stream.clone())?, stream })
    }

    /// `a b`, both f32 (multiplied as TF32) or both bf16, added up in f32.
    ///
    /// # Shapes
    ///
    /// - `a`: `[rows, inner]`, `b`: `[inner, columns]`; returns `[rows, columns]`
    pub fn product(&self, a: &Tensor<2>, b: &Tensor<2>) -> Result<Tensor<2>, Error> {
        let ([rows, inner], [other, columns], dtype) = (a.dims(), b.dims(), a.dtype());
        if inner != other || b.dtype() != dtype {
            return Err(Error::Operands { a: a.dims(), b: b.dims(), dtype });
        }
        let product = Tensor::<2>::empty([rows, columns], (&a.device(), dtype));
        // They are kept until the product has been waited for.
        let places = [&Place::of(a.clone())?, &Place::of(b.clone())?, &Place::of(product.clone())?];
        // What they are made of is in memory.
        places[2].finish()?;
        match dtype {
            DType::F32 => self.run::<f32>(places, [rows, inner, columns])?,
            DType::BF16 => self.run::<bf16>(places, [rows, inner, columns])?,
            _ => return Err(Error::Operands { a: a.dims(), b: b.dims(), dtype }),
        }
        self.stream.synchronize()?;
        Ok(product)
    }

    /// The library's matrices lie column by column: of rows it makes `bᵀ aᵀ`, whose columns are the rows of `a b`.
    fn run<T>(&self, [a, b, product]: [&Place; 3], [rows, inner, columns]: [usize; 3]) -> Result<(), Error>
    where
        CudaBlasLT: Matmul<T>,
    {
        let config = MatmulConfig {
            transa: false,
            transb: false,
            transc: false,
            m: columns as u64,
            n: rows as u64,
            k: inner as u64,
            alpha: 1.0,
            lda: b.row as i64,
            ldb: a.row as i64,
            beta: 0.0,
            ldc: product.row as i64,
            stride_a: None,
            stride_b: None,
            stride_c: None,
            stride_bias: None,
            batch_size: None,
        };
        let a = Borrowed::new(self.slice::<T>(a, rows));
        let b = Borrowed::new(self.slice::<T>(b, inner));
        let mut product = Borrowed::new(self.slice::<T>(product, rows));
        #[expect(unsafe_code, reason = "a call of a C library")]
        // SAFETY: each slice covers as many rows as its layout has, and those of `product` are nobody else's: it was allocated for this
        // call. `Place` holds all three until `product` has waited for the stream.
        unsafe {
            self.library.matmul(config, b.get(), a.get(), product.get_mut(), None, None)?;
        }
        Ok(())
    }

    /// The first `rows` rows of a place.
    fn slice<T>(&self, place: &Place, rows: usize) -> CudaSlice<T> {
        #[expect(unsafe_code, reason = "memory of another owner")]
        // SAFETY: the address is that of a tensor of `T` with these rows, which `place` keeps alive; `Borrowed` does not free it.
        unsafe {
            self.stream.upgrade_device_ptr(place.address, rows * place.row)
        }
    }
}

/// A slice of memory that somebody else frees.
struct Borrowed<T>(Option<CudaSlice<T>>);

impl<T> Borrowed<T> {
    fn new(slice: CudaSlice<T>) -> Self {
        Self(Some(slice))
    }

    fn get(&self) -> &CudaSlice<T> {
        self.0.as_ref().expect("there until it is dropped")
    }

    fn get_mut(&mut self) -> &mut CudaSlice<T> {
        self.0.as_mut().expect("there until it is dropped")
    }
}

impl<T> Drop for Borrowed<T> {
    fn drop(&mut self) {
        self.0.take().map(CudaSlice::leak);
    }
}

/// Where the rows of a matrix lie.
struct Place {
    address: u64,
    /// Elements from one row to the next.
    row: usize,
    /// Keeps the memory.
    tensor: CubeTensor,
}

impl Place {
    fn of(tensor: Tensor<2>) -> Result<Self, Error> {
        let tensor = held(tensor)?;
        let (row, column) = (tensor.meta.strides()[0], tensor.meta.strides()[1]);
        if column != 1 {
            return Err(Error::Elsewhere("not row by row".to_owned()));
        }
        let resource = tensor.client.get_resource::<<CudaRuntime as Runtime>::Server>(tensor.handle.clone());
        let address = resource.map_err(elsewhere)?.resource().ptr;
        Ok(Self { address, row, tensor })
    }

    /// Waits for all that was queued before.
    fn finish(&self) -> Result<(), Error> {
        let synced = cubecl::future::block_on(self.tensor.client.sync());
        synced.map_err(elsewhere)
    }
}

/// A tensor without the fusion around it, all that was queued for it begun.
fn held<const D: usize>(tensor: Tensor<D>) -> Result<CubeTensor, Error> {
    let fused = tensor.try_into_primitive::<Cube>().map_err(elsewhere)?;
    Ok(fused.client.clone().resolve_tensor_float::<CubeBackend>(fused))
}

fn elsewhere(error: impl std::fmt::Debug) -> Error {
    Error::Elsewhere(format!("{error:?}"))
}

fn is_installed() -> bool {
    #[expect(unsafe_code, reason = "looks for a C library")]
    // SAFETY: opens the library if it is there, as its first call would.
    unsafe {
        sys::is_culib_present()
    }
}
