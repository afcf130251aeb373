//! The large results of a child, which travel apart from their messages.

use std::rc::Rc;

use crate::model::{Payload, Seq};
use crate::process::os::{PayloadSocket, ReceiveError};
use crate::wire::{Apart, Failure, FailureKind, Up};

/// Puts results together. What a child sends is checked before it is believed (L8).
pub(super) struct Payloads {
    socket: Rc<PayloadSocket>,
    /// The pieces of the next result so far.
    pieces: Vec<u8>,
    limit: usize,
}

impl Payloads {
    /// `limit`: the largest payload.
    pub(super) fn new(socket: Rc<PayloadSocket>, limit: usize) -> Self {
        Self { socket, pieces: Vec::new(), limit }
    }

    /// Replaces each large message by the plain message with its payload.
    ///
    /// # Errors
    /// How the child broke the protocol.
    pub(super) fn complete(&mut self, messages: &mut Vec<Up>) -> Result<(), String> {
        let is_large = |message: &Up| matches!(message, Up::Piece { .. } | Up::LargeDone { .. });
        // Large results are rare.
        if !messages.iter().any(is_large) {
            return Ok(());
        }
        for message in std::mem::take(messages) {
            match message {
                Up::Piece { data } => self.add(&data)?,
                Up::LargeDone { seq, nanos, data } => messages.push(match self.payload(seq, data) {
                    Ok(data) => Up::Done { seq, nanos, data },
                    Err(ReceiveError::Refused(error)) => Up::Failed { seq, nanos, failure: lost(data, &error) },
                    Err(ReceiveError::Violation(violation)) => return Err(violation),
                }),
                message => messages.push(message),
            }
        }
        Ok(())
    }

    fn add(&mut self, piece: &[u8]) -> Result<(), String> {
        let (size, limit) = (self.pieces.len() + piece.len(), self.limit);
        if size > limit {
            return Err(format!("the pieces of a payload have {size} bytes, the limit is {limit}"));
        }
        self.pieces
            .try_reserve(piece.len())
            .map_err(|error| format!("no memory for a payload of {size} bytes: {error}"))?;
        self.pieces.extend_from_slice(piece);
        Ok(())
    }

    fn payload(&mut self, seq: Seq, Apart { size: stated, shared }: Apart) -> Result<Payload, ReceiveError> {
        let violation = |what: String| ReceiveError::Violation(format!("a payload of {stated} bytes: {what}"));
        let size = usize::try_from(stated).ok().filter(|size| *size <= self.limit);
        let size = size.ok_or_else(|| violation(format!("the limit is {}", self.limit)))?;
        if shared {
            return self.socket.receive(seq.0, size);
        }
        let pieces = std::mem::take(&mut self.pieces);
        if pieces.len() == size { Ok(pieces.into()) } else { Err(violation(format!("{} bytes came", pieces.len()))) }
    }
}

/// The failure of an attempt whose result the engine cannot take.
fn lost(data: Apart, error: &std::io::Error) -> Failure {
    Failure {
        kind: FailureKind::ResultTooLarge,
        exception: String::new(),
        message: format!("the result of {} bytes cannot be taken from the worker: {error}", data.size),
        traceback: String::new(),
        causes: Vec::new(),
        raised: bytes::Bytes::new(),
    }
}
