from cpl_edge.runtimes.executorch import ExecuTorch


def test_threads_reach_the_pool(toy_files):
    path = toy_files("executorch")
    from executorch.extension.pybindings import _portable_lib

    for threads in (2, 1):
        ExecuTorch(path, threads).close()
        assert _portable_lib._threadpool_get_thread_count() == threads
