"""Every snippet on the use of the engine in the documents of the older Axion, unchanged."""

import axion
import pytest


MY_SCRIPT = '''
def main(params, context):
    """
    Axion tarafından çağrılan main fonksiyonu

    Args:
        params (dict): Görev parametreleri
        context (ExecutionContext): Worker bilgisi

    Returns:
        any: Sonuç verisi (JSON serializable)
    """
    value = params.get("value", 0)
    result = value * 2
    return {"result": result, "status": "success"}
'''

MODULE_SCRIPT = '''
def module():
    """Module factory fonksiyonu"""
    return MyModule()


class MyModule:
    """Görev modülü"""

    def run(self, params):
        value = params.get("value", 0)
        result = value * 2
        return {"result": result, "status": "ok"}
'''


@pytest.fixture(autouse=True)
def there(script, tmp_path, monkeypatch):
    script(MY_SCRIPT)
    script(MODULE_SCRIPT, "script.py")
    monkeypatch.chdir(tmp_path)


def run(source, capsys, **names):
    names = {**names}
    exec(compile(source, "<the document>", "exec"), names)
    return capsys.readouterr().out, names


def test_c0_1_the_basic_example(capsys):
    out, names = run('''
from axion import Engine, Task, TaskType
# Engine başlat
with Engine() as engine:
    # Görev oluştur
    task = Task.create(
        script_path="my_script.py",
        params={"value": 42},
        task_type=TaskType.IO_BOUND
    )
    # Görevi gönder
    task_id = engine.submit_task(task)
    # Sonucu al
    result = engine.get_result(task_id, timeout=30)
    if result and result.is_success:
        print(f"Sonuç: {result.data}")
    else:
        print(f"Hata: {result.error if result else 'Timeout'}")
''', capsys)
    assert out == "Sonuç: {'result': 84, 'status': 'success'}\n"
    assert names["result"].duration >= 0


def test_c0_4_the_configuration(capsys):
    _, names = run('''
from axion import Engine, EngineConfig
config = EngineConfig(
    # Queue boyutları
    input_queue_size=2000,
    output_queue_size=10000,
    # Worker sayıları
    cpu_bound_count=4, # CPU-intensive işler için
    io_bound_count=8, # IO-intensive işler için
    # Thread limitleri
    cpu_bound_task_limit=1, # CPU worker başına thread
    io_bound_task_limit=20, # IO worker başına thread
    # Genel ayarlar
    log_level="INFO",
    queue_poll_timeout=1.0
)
engine = Engine(config)
''', capsys)
    assert names["config"].input_queue_size == 2000 and names["config"].queue_poll_timeout == 1.0
    defaults = axion.EngineConfig()
    assert [getattr(defaults, key) for key in ("input_queue_size", "output_queue_size", "cpu_bound_count",
                                               "cpu_bound_task_limit", "io_bound_task_limit", "log_level",
                                               "queue_poll_timeout")] == [1000, 10000, 1, 1, 20, "INFO", 1.0]


def test_the_other_configurations(capsys):
    run('''
import multiprocessing
from axion import EngineConfig
config = EngineConfig(io_bound_count=16)
config = EngineConfig(input_queue_size=5000)
config = EngineConfig(cpu_bound_count=8)
config = EngineConfig(
    cpu_bound_count=4, # CPU core sayısına göre
    io_bound_count=16, # IO için daha fazla
    io_bound_task_limit=30 # Thread limiti artır
)
config = EngineConfig(
    cpu_bound_count=multiprocessing.cpu_count(), # Core sayısı kadar
    cpu_bound_task_limit=1, # Thread=1 (GIL nedeniyle)
    io_bound_count=2 # IO için az sayıda
)
config = EngineConfig(
    cpu_bound_count=2, # CPU için az sayıda
    io_bound_count=multiprocessing.cpu_count()*3, # IO için çok sayıda
    io_bound_task_limit=50 # Yüksek thread limiti
)
config = EngineConfig(
    input_queue_size=2000,
    output_queue_size=5000,
    cpu_bound_count=2,
    io_bound_count=4,
    cpu_bound_task_limit=1,
    io_bound_task_limit=20,
    log_level="INFO"
)
config = EngineConfig(max_queue_full_retries=3, health_check_interval=0.2, enable_metrics=True,
                      cpu_bound_count=1, io_bound_count=None)
''', capsys)


def test_c0_10_the_status(capsys):
    out, _ = run('''
from axion import Engine
with Engine() as engine:
    status = engine.get_status()
    print(f"Engine: {status['engine']['is_running']}")
    print(f"Input Queue: {status['components']['input_queue']['metrics']['size']}")
    print(f"CPU Workers: {status['components']['process_pool']['metrics']['cpu_bound_workers']}")
    print(f"IO Workers: {status['components']['process_pool']['metrics']['io_bound_workers']}")
    pool_status = engine.get_component_status("process_pool")
    for worker_id, metrics in pool_status.metrics['cpu_worker_tasks'].items():
        print(f"{worker_id}: {metrics['active_tasks']} active, {metrics['queue_size']} queued")
    for name, comp_status in status["components"].items():
        print(f"{name}: {comp_status['health']}")
''', capsys)
    assert out.startswith("Engine: True\nInput Queue: 0\nCPU Workers: ")
    assert "process_pool: " in out


def test_c1_2_start_and_shutdown(capsys, tmp_path):
    out, _ = run('''
from axion import Engine, Task, TaskType

# Engine oluştur ve başlat
engine = Engine()
engine.start()

# Görev oluştur
task = Task(
    script_path=PATH,
    params={"value": 10},
    task_type=TaskType.IO_BOUND
)

# Görev gönder
task_id = engine.submit_task(task)

# Sonuç al
result = engine.get_result(task_id, timeout=30)

if result and result.is_success:
    print(f"Sonuç: {result.data}")
else:
    print(f"Hata: {result.error if result else 'Timeout'}")

# Engine'i kapat
engine.shutdown()
engine.shutdown()
''', capsys, PATH=str(tmp_path / "script.py"))
    assert out == "Sonuç: {'result': 20, 'status': 'ok'}\n"


def test_c1_3_the_health(capsys):
    out, names = run('''
from axion import Engine

engine = Engine()
engine.start()

# Tüm sistem durumu
status = engine.get_status()
print(f"Engine running: {status['engine']['is_running']}")
print(f"Input queue size: {status['components']['input_queue']['metrics']['size']}")
print(f"Active tasks: {status['components']['process_pool']['metrics']['active_tasks']}")

# Belirli component durumu
queue_status = engine.get_component_status("input_queue")
print(f"Queue health: {queue_status.health.value}")
print(f"Queue metrics: {queue_status.metrics}")
print(f"Queue size: {queue_status.metrics['size']}")
print(f"Queue fullness: {queue_status.metrics['fullness']}")

# Sistem sağlık durumu
health = engine.get_health()
print(f"Overall health: {health.overall_health.value}")
print(f"Healthy components: {health.healthy_count}")
print(f"Healthy: {health.healthy_count}")
print(f"Unhealthy: {health.unhealthy_count}")
engine.shutdown()
''', capsys)
    assert "Queue health: healthy" in out and "Queue fullness: 0.0" in out
    assert names["health"].healthy_count + names["health"].unhealthy_count == 5


def test_c0_3_an_error_in_a_script_is_reported(engine, script, tmp_path):
    def error(source=None, path=None):
        task = axion.Task(path or script(source, "bad.py"))
        return engine.get_result(engine.submit_task(task), timeout=30).error

    missing = error("x = 1")
    assert missing.code == "entry_missing" and "main" in str(missing) and "bad.py" in str(missing)
    assert error(path=str(tmp_path / "nowhere.py")).code == "script_not_found"
    assert error("def main(:").code == "script_syntax"
    raised = error("def main(params, context):\n    raise ValueError('bad')")
    assert (raised.code, raised.exception, raised.message) == ("exception", "ValueError", "bad")
    assert "line 2" in raised.traceback


def test_c0_1_a_result_that_is_not_there_in_time_is_found_later(engine, script, gate):
    path = script("def main(params, context):\n    open(params['gate'], 'rb', 0).read(1)\n    return 'late'")
    task_id = engine.submit_task(axion.Task(path, {"gate": gate.path}))
    assert engine.get_result(task_id, timeout=0.05) is None
    assert engine.get_result(task_id, timeout=0) is None
    gate.open()
    assert engine.get_result(task_id, timeout=30).data == "late"
    assert engine.get_result(task_id, timeout=30).data == "late", "and again"


def test_c0_5_each_refusal_has_its_code(script, gate):
    path = script("def main(params, context):\n    open(params['gate'], 'rb', 0).read(1)")
    task = axion.Task(path, {"gate": gate.path}, axion.TaskType.CPU_BOUND)
    engine = axion.Engine(cpu_bound_count=1, cpu_bound_max=1, input_queue_size=1, cancel_grace=0)
    with pytest.raises(axion.EngineError) as caught:
        engine.submit_task(task)
    assert (caught.value.code, caught.value.legacy_code) == ("not_started", "ENG002")
    with engine:
        with pytest.raises(axion.EngineError) as caught:
            engine.start()
        assert (caught.value.code, caught.value.legacy_code) == ("already_started", "ENG001")
        with pytest.raises(axion.TaskError) as caught:
            for _ in range(10):
                engine.submit_task(axion.Task(path, {"gate": gate.path}, axion.TaskType.CPU_BOUND))
        assert (caught.value.code, caught.value.legacy_code) == ("queue_full", "TASK001")
        with pytest.raises(axion.EngineError, match="no task with this id") as caught:
            engine.get_result(axion._axion.new_task_id(), timeout=5)
        assert caught.value.code == "result_unknown"
        assert engine.shutdown(wait=False) >= 1
    with pytest.raises(axion.EngineError) as caught:
        engine.submit(pow, 1, 2)
    assert caught.value.code == "shutting_down"


def test_a_task_with_dependencies_is_not_run_without_them(engine, script):
    task = axion.Task(script("def main(params, context): return 1"), dependencies=[axion._axion.new_task_id()])
    with pytest.raises(axion.SubmitError) as caught:
        engine.submit_task(task)
    assert caught.value.code == "unknown_dependency"


def test_c0_4_what_is_no_setting_or_no_value_is_refused():
    with pytest.raises(axion.ConfigError, match="did you mean `input_queue_size`"):
        axion.EngineConfig(input_queue_sizes=3)
    for key, value in (("input_queue_size", 0), ("input_queue_size", -1), ("log_level", "LOUD"),
                       ("cpu_bound_count", "many"), ("enable_metrics", 3), ("cpu_bound_count", None),
                       ("frame_limit", "1 XB"), ("input_queue_size", object())):
        with pytest.raises(axion.ConfigError, match=key):
            axion.EngineConfig(**{key: value})
    with pytest.raises(axion.ConfigError, match="cpu_bound_worker"):
        axion.EngineConfig(cpu_bound_worker={"nices": 3})
    assert axion.EngineConfig(frame_limit="2 MiB", start_timeout="1.5 s").frame_limit == 2 << 20


def test_c0_11_five_thousand_unread_results_are_not_lost(engine, script):
    path = script("def main(params, context):\n    return params['n']")
    ids = []
    with axion.Engine(cpu_bound_count=2, cpu_bound_max=2, input_queue_size=6000) as engine:
        ids = [engine.submit_task(axion.Task(path, {"n": n}, axion.TaskType.CPU_BOUND)) for n in range(5000)]
        assert [engine.get_result(task_id, 30).data for task_id in ids] == list(range(5000))


def test_l9_waiters_that_gave_up_are_taken_away(engine, script, gate):
    """Also those of tasks that are queued, unknown, or ended; a limit of 0 finds what has ended."""
    path = script("def main(params, context):\n    open(params['gate'], 'rb', 0).read(1)\n    return 'late'")
    queued = [engine.submit_task(axion.Task(path, {"gate": gate.path})) for _ in range(20)]
    unfinished = len(engine._inbox.futures)
    for task_id in queued:
        assert engine.get_result(task_id, timeout=0) is None
        assert engine.get_result(task_id, timeout=0.001) is None
    for _ in range(20):
        with pytest.raises(axion.EngineError, match="no task with this id"):
            engine.get_result(axion._axion.new_task_id(), timeout=0)
    assert len(engine._inbox.futures) == unfinished
    for _ in queued:
        gate.open()
    assert engine.get_result(queued[-1], timeout=30).data == "late"
    for task_id in queued[:-1]:
        engine.get_result(task_id, timeout=30)
        assert engine.get_result(task_id, timeout=0).data == "late"
    assert len(engine._inbox.futures) == 0
