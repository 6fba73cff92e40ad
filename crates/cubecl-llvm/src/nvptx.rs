//! The PTX side of the LLVM backend.

pub mod ptx_version {
    //! The PTX version that LLVM would emit.

    use core::fmt;

    /// A PTX version chosen for LLVM. There is no LLVM, so it has no values.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum PtxVersion {}

    impl PtxVersion {
        /// Always `None`, whatever the driver: NVRTC writes the PTX version of its own toolkit.
        pub fn for_driver(_driver: i32) -> Option<Self> {
            None
        }
    }

    impl fmt::Display for PtxVersion {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            match *self {}
        }
    }
}
