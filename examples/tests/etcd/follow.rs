//! One key after the other.

use crate::{
    users::{self, answers, judge, until},
    world::{over_all, path},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_puts_deletes_transactions_and_ended_leases_are_in_effect_and_verified() {
    over_all("one by one", async |mut world| {
        let [service, other] = world.services.clone();
        let users = users::start(&world.bed, 20);
        let address = world.bed.add_server().await.unwrap();

        world.put(&service, "web1", address);
        world.settle().await;
        let reached = |address| world.bed.servers.get(&address).unwrap().requests();
        until("traffic", || reached(address) > 0).await;

        // One revision takes it from one service and gives it to the other.
        world.txn(&[(&service, "web1", None), (&other, "office1", Some(address))]);
        world.settle().await;
        world.delete(&other, "office1");
        world.settle().await;
        answers(&users, 50).await;
        let before = reached(address);
        answers(&users, 100).await;
        assert_eq!(reached(address), before, "{address} has left");

        let api = world.api();
        let lease = api.grant(2);
        let value = address.to_string();
        world.change(&[(&service, "web2", Some(address))], || {
            api.put_leased(&path(&service, "web2"), &value, lease)
        });
        world.settle().await;
        until("traffic", || reached(address) > before).await;
        // Nobody renews it.
        world.gone(&service, "web2").await;

        judge(users, 300).await;
        assert_eq!(users::reloads(&world.bed), 0);
    })
    .await;
}
