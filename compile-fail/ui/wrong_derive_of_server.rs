//! `Ask` cannot be read.

use postbox_compile_fail::*;
use serde::Serialize;

#[derive(Serialize)]
struct Question;

async fn answer(client: Client<Reply>, mut questions: Requests<Question>) -> Result<(), BoxError> {
    let Question = questions.recv().await?;
    client
        .send(Reply {
            greeting: String::new(),
        })
        .await?;
    Ok(())
}

fn main() {
    let protocol = DatagramProtocol::new(JsonSerializer::<Reply, Question>::new());
    let _ = Server::builder_fn(protocol, answer);
}
