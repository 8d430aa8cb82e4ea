//! What the model says where it is asked: final norm, projection, and of the logits what a loss looks at (log_prob.cu).
//!
//! The places' rows are gathered, and go through the head some at a time: a full matrix of logits would be the largest
//! buffer of a pass by far. Logits are f32; their gradient is bf16 and takes their place.

use half::bf16;
use half::slice::HalfFloatSliceExt;

use super::launch::Ptr;
use super::machine::{Matrix, Memory, Target, read, write};
use super::ops::{self, Logits};
use super::pass::Pass;
use super::project::Into;
use crate::engine::Said;
use crate::error::Result;
use crate::model::Head;

/// Logits at a time, about: 1 GiB.
const LOGITS: usize = 1 << 28;

/// Buffers of the head.
#[derive(Default)]
pub(crate) struct HeadRoom {
    rows: Memory,
    normed: Memory,
    dnormed: Memory,
    drows: Memory,
    logits: Memory,
    log_probs: Memory,
    entropies: Memory,
    lses: Memory,
    slopes: Memory,
    entropy_slopes: Memory,
}

/// Some of the places.
#[derive(Clone, Copy)]
struct Part {
    first: usize,
    count: usize,
}

impl Pass<'_> {
    /// Numbers from one row of logits to the next.
    fn stride(&self) -> usize {
        self.spec.head.out.next_multiple_of(8)
    }

    fn parts(&self) -> impl Iterator<Item = Part> {
        let (asked, most) = (self.asked, (LOGITS / self.stride()).max(1));
        (0..asked).step_by(most).map(move |first| Part { first, count: most.min(asked - first) })
    }

    /// The places' rows of x, and their final norm.
    fn asked_rows(&self, x: Ptr<bf16>) -> Result<[Matrix; 2]> {
        let room = &mut self.room.borrow_mut().head;
        let (asked, hidden, [places, _]) = (self.asked, self.spec.hidden, self.batch.places());
        let rows = Matrix::new(room.rows.sized(self.machine, asked * hidden)?, hidden);
        let normed = Matrix::new(room.normed.sized(self.machine, asked * hidden)?, hidden);
        self.launch(&ops::embedding_forward(rows.start, x, places, (asked, hidden)))?; // gathers
        self.norm(normed.start, rows.start, &self.spec.norm, asked)?;
        Ok([rows, normed])
    }

    /// Logits of some of the places.
    fn logits(&self, normed: Matrix, part: Part) -> Result<Logits> {
        let room = &mut *self.room.borrow_mut();
        let (vocabulary, stride) = (self.spec.head.out, self.stride());
        let most = part.count.max(self.asked.min(LOGITS / stride));
        let start = room.head.logits.sized(self.machine, most * stride)?;
        let (target, x) = (Target::F32 { start, stride }, normed.below(part.first));
        self.projector().forward(target, Into::Fresh, x, part.count, &self.spec.head, &mut room.narrow)?;
        Ok(Logits { start, rows: part.count, vocabulary, stride })
    }

    /// Log-probabilities, entropies and normalisers of some of the places, where those of all have room.
    fn look(&self, logits: &Logits, part: Part) -> Result<ops::Said> {
        let room = &mut self.room.borrow_mut().head;
        let said = ops::Said {
            targets: self.batch.targets().at(part.first),
            log_probs: room.log_probs.sized::<f32>(self.machine, self.asked)?.at(part.first),
            entropies: room.entropies.sized::<f32>(self.machine, self.asked)?.at(part.first),
            lses: room.lses.sized::<f32>(self.machine, self.asked)?.at(part.first),
        };
        self.launch(&ops::log_prob_forward(logits, &said))?;
        Ok(said)
    }

    pub(super) fn said(&self, x: Ptr<bf16>, entropies: bool) -> Result<Said> {
        let [_, normed] = self.asked_rows(x)?;
        let mut values = vec![];
        for part in self.parts() {
            let logits = self.logits(normed, part)?;
            match self.spec.says {
                Head::Tokens => drop(self.look(&logits, part)?),
                Head::Score | Head::Steps => values.extend(self.opinions(&logits)?),
            }
        }
        if self.spec.says != Head::Tokens {
            return Ok(Said { values, entropies: vec![] });
        }
        let room = &self.room.borrow().head;
        let read = |memory: &Memory, count| read::<f32>(self.machine.as_ref(), memory.ptr(), count);
        let values = read(&room.log_probs, self.asked)?;
        Ok(Said { values, entropies: if entropies { read(&room.entropies, self.asked)? } else { vec![] } })
    }

    /// What a reward model says: its score, or how much likelier a right step is than a wrong one.
    fn opinions(&self, logits: &Logits) -> Result<Vec<f32>> {
        let rows = read(self.machine.as_ref(), logits.start, logits.rows * logits.stride)?;
        let rows = rows.chunks(logits.stride);
        if self.spec.says == Head::Score {
            return Ok(rows.map(|row| row[0]).collect());
        }
        let bias = match &self.spec.head.bias {
            Some(bias) => read(self.machine.as_ref(), self.weights.at(bias), 2)?.to_f32_vec(),
            None => vec![0.0; 2],
        };
        Ok(rows.map(|row| row[1] - row[0] + bias[1] - bias[0]).collect())
    }

    pub(super) fn said_back(&self, x: Ptr<bf16>, slopes: &Said, dx: Ptr<bf16>, into: Ptr<f32>) -> Result<()> {
        let (asked, hidden) = (self.asked, self.spec.hidden);
        let [rows, normed] = self.asked_rows(x)?;
        let [dnormed, drows] = {
            let room = &mut self.room.borrow_mut().head;
            [&mut room.dnormed, &mut room.drows].map(|memory| memory.sized(self.machine, asked * hidden))
        };
        let (dnormed, drows) = (Matrix::new(dnormed?, hidden), drows?);
        for part in self.parts() {
            let dlogits = self.slopes_by_logits(normed, slopes, part)?;
            let (x, dx) = (normed.below(part.first), dnormed.below(part.first));
            let narrow = &mut self.room.borrow_mut().narrow;
            self.projector().backward(dx, dlogits, part.count, &self.spec.head, narrow)?;
            self.projector().learn(into, dlogits, x, part.count, &self.spec.head, narrow)?;
        }
        let partial = &mut self.room.borrow_mut().narrow.partial;
        let through = (rows.start, &self.spec.norm, dnormed.start);
        self.norm_back((drows, Ptr::NULL), through, asked, into, partial)?;
        let [_, place_of] = self.batch.places();
        self.launch(&ops::scatter_rows(dx, drows, place_of, (self.tokens(), hidden)))
    }

    /// The gradient by the logits of some of the places.
    fn slopes_by_logits(&self, normed: Matrix, slopes: &Said, part: Part) -> Result<Matrix> {
        let values = &slopes.values[part.first..part.first + part.count];
        if self.spec.says != Head::Tokens {
            return self.slopes_by_opinions(values);
        }
        let logits = self.logits(normed, part)?;
        let said = self.look(&logits, part)?;
        let room = &mut self.room.borrow_mut().head;
        let by_log_prob = room.slopes.fill(self.machine, values)?;
        let by_entropy = match slopes.entropies.get(part.first..part.first + part.count) {
            Some(slopes) if !slopes.is_empty() => room.entropy_slopes.fill(self.machine, slopes)?,
            _ => Ptr::NULL,
        };
        self.launch(&ops::log_prob_backward(&logits, &said, by_log_prob, by_entropy))?;
        Ok(Matrix::new(logits.start.cast(), 2 * logits.stride))
    }

    fn slopes_by_opinions(&self, slopes: &[f32]) -> Result<Matrix> {
        let stride = self.stride();
        let mut rows = vec![0.0; slopes.len() * stride];
        for (row, &slope) in rows.chunks_mut(stride).zip(slopes) {
            match self.spec.says {
                Head::Steps => row[..2].copy_from_slice(&[-slope, slope]),
                _ => row[0] = slope,
            }
        }
        let mut rounded = vec![bf16::ZERO; rows.len()];
        rounded.convert_from_f32_slice(&rows);
        let start = self.room.borrow_mut().head.logits.sized(self.machine, rows.len())?;
        write(self.machine.as_ref(), start, &rounded)?;
        Ok(Matrix::new(start, stride))
    }
}
