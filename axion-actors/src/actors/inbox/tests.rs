use std::sync::Barrier;

use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::super::messages::Submission;
use super::*;
use crate::actors::messages::Reply;
use crate::model::Task;

#[actix::test]
async fn a_batch_is_bounded_by_tasks_however_they_travel() {
    let (sender, inbox) = inbox().expect("a pipe");
    let submission = || {
        let (reply, _) = oneshot::channel();
        Submission { task: Task::script("/a.py"), units: 0, reply: Reply::One(reply), accepted: None }
    };
    for _ in 0..10 {
        let piece = (0..256).map(|_| submission()).collect();
        sender.send(Request::SubmitMany(piece)).expect("it is there");
    }
    let (_door, requests) = inbox.open();
    let mut batches = requests.into_batches().expect("watched");
    for _ in 0..5 {
        assert_eq!(batches.next().await.map(|batch| batch.len()), Some(2));
    }
}

#[actix::test]
async fn a_request_wakes_a_reader_that_sleeps() {
    let (sender, inbox) = inbox().expect("a pipe");
    let (_door, requests) = inbox.open();
    let mut batches = requests.into_batches().expect("watched");
    let reader = actix_rt::spawn(async move {
        for _ in 0..100 {
            assert_eq!(batches.next().await.map(|batch| batch.len()), Some(1));
        }
    });
    let sending = std::thread::spawn(move || {
        for _ in 0..100 {
            let (reply, answer) = oneshot::channel();
            sender.send(Request::Drain { reply }).expect("it is there");
            // Dropped when the reader has read it.
            let _ = answer.blocking_recv();
        }
    });
    reader.await.expect("it has read all of them");
    sending.join().expect("all of them were dropped");
}

/// Sends until a request is refused, and returns the receivers of the answers.
fn send_until_refused(sender: &InboxSender) -> Vec<oneshot::Receiver<()>> {
    let mut answers = Vec::new();
    loop {
        let (reply, answer) = oneshot::channel();
        if sender.send(Request::Drain { reply }).is_err() {
            return answers;
        }
        answers.push(answer);
    }
}

#[test]
fn l1_a_request_sent_while_the_reader_goes_is_refused_or_dropped() {
    // Without the door, requests stayed in the queue in 15 of 100 rounds.
    for round in 0..200 {
        let (sender, inbox) = inbox().expect("a pipe");
        let start = Barrier::new(4);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let send = || {
                start.wait();
                send_until_refused(&sender)
            };
            let senders = [scope.spawn(send), scope.spawn(send), scope.spawn(send)];
            start.wait();
            (0..100).for_each(|_| std::hint::spin_loop());
            drop(inbox);
            senders.into_iter().flat_map(|sender| sender.join().expect("joined")).collect()
        });
        for (at, mut answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.try_recv(), Err(TryRecvError::Closed), "round {round}, request {at}");
        }
    }
}

#[test]
fn l1_once_the_door_is_dropped_nothing_is_sent_and_what_was_is_dropped_with_its_reader() {
    let (sender, inbox) = inbox().expect("a pipe");
    let (reply, mut answer) = oneshot::channel();
    sender.send(Request::Drain { reply }).expect("it is there");
    let (door, requests) = inbox.open();
    drop(door);
    let (reply, _) = oneshot::channel();
    assert!(sender.send(Request::Drain { reply }).is_err());
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
    drop(requests);
    assert_eq!(answer.try_recv(), Err(TryRecvError::Closed));
}
