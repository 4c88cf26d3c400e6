from homeport.monitor import LoopMonitor
from homeport.system import SystemClock


def test_delays_are_counted_in_the_bucket_of_their_upper_bound() -> None:
    monitor = LoopMonitor(SystemClock())
    for late in (0.0, 0.001, 0.0011, 0.4, 3.0):
        monitor.observe(late)
    text = monitor.render().decode()
    assert 'le="0.001"} 2\n' in text
    assert 'le="0.002"} 3\n' in text
    assert 'le="0.2"} 3\n' in text
    assert 'le="0.5"} 4\n' in text
    assert 'le="+Inf"} 5\n' in text
    assert "_count 5\n" in text
