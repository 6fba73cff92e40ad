//! The block-wise pass against one graph over the whole model, and against other ways to cut a step.

mod cross_attention;
mod estimates;
mod features;
mod freezing;
mod matrix;
mod packing;
mod pairs;
mod samples;
mod sizes;
mod ways;
mod whole;
