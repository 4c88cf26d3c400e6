"""Which cluster a task belongs to, whatever the clock says."""

from __future__ import annotations

from ecs_world import Agent, World, play


def test_a_task_is_found_though_the_clock_was_set_back() -> None:
    async def scene(w: World) -> None:
        await joined(w)
        w.clock.epoch -= 3600
        made = (await w.run_task(startedBy="me"))["tasks"][0]
        assert (await w.describe(made["taskArn"]))["lastStatus"] == "PROVISIONING"
        assert (await w.call("ListTasks", cluster="demo"))["taskArns"] == [made["taskArn"]]

    play(scene)


def test_a_new_cluster_of_the_same_name_has_none_of_the_old_ones_tasks() -> None:
    async def scene(w: World) -> None:
        agent = await joined(w)
        made = (await w.run_task(networkConfiguration=w.network(public=True)))["tasks"][0]
        await w.call("StopTask", cluster="demo", task=made["taskArn"])
        await agent.report(made["taskArn"], "STOPPED")
        await w.becomes(made["taskArn"], "STOPPED")
        await w.call("DeleteCluster", cluster="demo")
        await w.call("CreateCluster", clusterName="demo")
        found = await w.call("DescribeTasks", cluster="demo", tasks=[made["taskArn"]])
        assert (found["tasks"], found["failures"][0]["reason"]) == ([], "MISSING")
        assert (await w.call("ListTasks", cluster="demo", desiredStatus="STOPPED"))["taskArns"] == []

    play(scene)


async def joined(w: World) -> Agent:
    agent = Agent(w, "n1")
    await agent.register()
    await agent.connect()
    return agent
