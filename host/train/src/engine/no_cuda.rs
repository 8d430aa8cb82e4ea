//! Stands in for `cuda/` where the feature is off: a policy cannot get onto a GPU, so none of these values exists.

#![allow(dead_code, reason = "nothing of this runs")]

use std::convert::Infallible;
use std::marker::PhantomData;

use super::cpu::{self, AdamStep};
use super::{Said, Spec};
use crate::batch::MicroBatch;
use crate::error::{Error, Result};

pub(crate) enum Resident {}
pub(crate) enum Gradient {}
pub(crate) enum Moments {}

/// How one token is drawn.
#[derive(Clone, Copy)]
pub(crate) struct Draw {
    pub(crate) temperature: f32,
    pub(crate) top_k: u32,
    pub(crate) top_p: f32,
    pub(crate) uniform: f64,
}

/// A drawn token.
pub(crate) struct Drawn {
    pub(crate) token: u32,
    pub(crate) log_prob: f32,
}

/// A token that a slot is fed.
pub(crate) struct Fed {
    pub(crate) token: u32,
    pub(crate) slot: usize,
    pub(crate) position: usize,
    pub(crate) draw: Draw,
}

pub(crate) struct Size {
    pub(crate) rows: usize,
}

pub(crate) struct Decoder<'a>(Infallible, PhantomData<&'a ()>);

impl Resident {
    pub(crate) fn open(_: usize, _: &Spec, _: cpu::Numbers) -> Result<Self> {
        Err(Error::Gpu("this program was built without `--features cuda`".into()))
    }

    pub(crate) fn read(&self) -> Result<Vec<f32>> {
        match *self {}
    }

    pub(crate) fn predict(&self, _: &Spec, _: &MicroBatch, _: bool) -> Result<Said> {
        match *self {}
    }

    pub(crate) fn learn(
        &self,
        _: &Spec,
        _: &MicroBatch,
        _: (bool, bool),
        _: impl FnOnce(&Said) -> Said,
        _: &mut Gradient,
    ) -> Result<Said> {
        match *self {}
    }

    pub(crate) fn gradient(&self) -> Result<Gradient> {
        match *self {}
    }

    pub(crate) fn moments(&self) -> Result<Moments> {
        match *self {}
    }

    pub(crate) fn step(
        &self,
        _: &mut Moments,
        _: &Gradient,
        _: &[(usize, bool)],
        _: impl Fn(bool) -> AdamStep,
        _: f32,
    ) -> Result<f64> {
        match *self {}
    }

    pub(crate) fn decoder(&self, _: &Spec, _: usize, _: usize) -> Result<(Decoder<'_>, Size)> {
        match *self {}
    }
}

impl Gradient {
    pub(crate) fn read(&self) -> Result<Vec<f32>> {
        match *self {}
    }
}

impl Moments {
    pub(crate) fn read(&self) -> Result<[Vec<f32>; 2]> {
        match *self {}
    }

    pub(crate) fn write(&mut self, _: [&[f32]; 2]) -> Result<()> {
        match *self {}
    }
}

impl Decoder<'_> {
    pub(crate) fn prefill(&mut self, _: usize, _: &[u32]) -> Result<()> {
        match self.0 {}
    }

    pub(crate) fn copy(&mut self, _: usize, _: &[usize], _: usize) -> Result<()> {
        match self.0 {}
    }

    pub(crate) fn begin(&mut self, _: &[Draw]) -> Result<Vec<Drawn>> {
        match self.0 {}
    }

    pub(crate) fn step(&mut self, _: &[Fed]) -> Result<Vec<Drawn>> {
        match self.0 {}
    }
}
