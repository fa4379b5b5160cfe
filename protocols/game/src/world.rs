//! The world: who is where, and how that changes in a tick. It knows no network.

use game::wire::{SEATS, Snapshot};

/// The field has so many places each way.
const WIDTH: u16 = 1000;

/// `Link` is whatever leads to the player.
#[derive(Debug)]
pub struct World<Link> {
    tick: u32,
    /// A player's number is that of its seat.
    seats: Vec<Option<Player<Link>>>,
}

#[derive(Debug)]
struct Player<Link> {
    link: Link,
    place: (u16, u16),
    direction: (i8, i8),
    /// Of the newest input.
    number: Option<u32>,
}

impl<Link: Clone> World<Link> {
    pub fn new() -> Self {
        Self {
            tick: 0,
            seats: (0..SEATS).map(|_| None).collect(),
        }
    }

    /// Takes a seat, if one is free.
    pub fn join(&mut self, link: Link) -> Option<u16> {
        let id = self.seats.iter().position(Option::is_none)?;
        self.seats[id] = Some(Player {
            link,
            place: (WIDTH / 2, WIDTH / 2),
            direction: (0, 0),
            number: None,
        });
        Some(id as u16)
    }

    pub fn leave(&mut self, id: u16) {
        self.seats[usize::from(id)] = None;
    }

    /// Where the player goes from the next tick on. What was said earlier and comes later is left
    /// out.
    pub fn steer(&mut self, id: u16, number: u32, direction: (i8, i8)) {
        if let Some(player) = &mut self.seats[usize::from(id)]
            && player.number.is_none_or(|newest| number > newest)
        {
            player.number = Some(number);
            player.direction = direction;
        }
    }

    /// Goes on to a tick: more than one step, if some were missed.
    pub fn step_to(&mut self, tick: u32) {
        let steps = tick.saturating_sub(self.tick).min(WIDTH.into());
        self.tick = tick;
        for player in self.seats.iter_mut().flatten() {
            let ((x, y), (dx, dy)) = (player.place, player.direction);
            player.place = (moved(x, dx, steps), moved(y, dy, steps));
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        let seats = (0..).zip(&self.seats);
        Snapshot::new(
            self.tick,
            seats.filter_map(|(id, player)| Some((id, player.as_ref()?.place))),
        )
    }

    pub fn links(&self) -> Vec<Link> {
        let players = self.seats.iter().flatten();
        players.map(|player| player.link.clone()).collect()
    }
}

/// One place a step, whatever the player wants, and not beyond the field.
fn moved(at: u16, direction: i8, steps: u32) -> u16 {
    let to = i32::from(at) + i32::from(direction.signum()) * steps as i32;
    to.clamp(0, i32::from(WIDTH) - 1) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(world: &World<()>) -> Vec<(u16, (u16, u16))> {
        world.snapshot().players().collect()
    }

    #[test]
    fn who_steers_moves_one_place_a_tick_and_stays_on_the_field() {
        let mut world = World::new();
        let id = world.join(()).unwrap();
        world.steer(id, 0, (1, -128));
        assert_eq!(places(&world), [(id, (500, 500))], "not before the tick");
        world.step_to(1);
        assert_eq!(places(&world), [(id, (501, 499))]);
        world.step_to(4); // three at once
        assert_eq!(places(&world), [(id, (504, 496))]);
        world.step_to(u32::MAX);
        assert_eq!(places(&world), [(id, (999, 0))]);
    }

    #[test]
    fn the_newest_input_counts_in_whatever_order_they_come() {
        let mut world = World::new();
        let id = world.join(()).unwrap();
        world.steer(id, 7, (1, 0));
        world.steer(id, 6, (-1, 0));
        world.steer(id, 7, (-1, 0));
        world.step_to(1);
        assert_eq!(places(&world), [(id, (501, 500))]);
    }

    #[test]
    fn seats_are_as_many_as_there_are_and_are_taken_again() {
        let mut world = World::new();
        for id in 0..SEATS {
            assert_eq!(world.join(()), Some(id as u16));
        }
        assert_eq!(world.join(()), None);
        assert_eq!(world.links().len(), SEATS);
        world.steer(3, 9, (1, 1));
        world.leave(3);
        assert_eq!(world.join(()), Some(3));
        world.steer(3, 0, (1, 0)); // numbers begin anew
        world.step_to(1);
        assert_eq!(places(&world)[3], (3, (501, 500)));
    }
}
