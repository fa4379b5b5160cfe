//! The handler has its own types, and the protocol no converter to them.

use postbox::Handler;
use postbox_compile_fail::*;

/// What the handler knows, of an `Ask` that was checked.
struct Name(String);

struct Greeter;

impl Handler for Greeter {
    type Request = Name;
    type Response = Reply;

    async fn handle(
        &self,
        client: Client<Reply>,
        mut names: Requests<Name>,
    ) -> Result<(), BoxError> {
        let Name(greeting) = names.recv().await?;
        client.send(Reply { greeting }).await?;
        Ok(())
    }
}

fn main() {
    let _ = Server::builder(protocol(), Greeter);
}
