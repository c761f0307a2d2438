/* A ring of four threads, each with a scheduler of its own and a channel: a number goes round,
   and each thread adds one.

       threads [rounds] */

#include <Python.h>
#include <stackless.h>
#include <pthread.h>
#include <semaphore.h>

enum { THREADS = 4 };

static PyChannelObject *ring[THREADS];
static int rounds = 1000;
static sem_t ready;

static int
pass_on(int i)
{
    PyObject *value = PyChannel_Receive(ring[i]);
    PyObject *one = value != NULL ? PyLong_FromLong(1) : NULL;
    PyObject *next = one != NULL ? PyNumber_Add(value, one) : NULL;
    int err = next != NULL ? PyChannel_Send(ring[(i + 1) % THREADS], next) : -1;
    Py_XDECREF(value);
    Py_XDECREF(one);
    Py_XDECREF(next);
    return err;
}

static void *
worker(void *arg)
{
    int i = (int)((PyChannelObject **)arg - ring);
    PyGILState_STATE state = PyGILState_Ensure();
    int err = 0;
    sem_post(&ready);
    for (int round = 0; round < rounds && err == 0; round++) {
        err = pass_on(i);
    }
    if (err < 0) {
        PyErr_Print();
    }
    PyGILState_Release(state);
    return NULL;
}

int
main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    rounds = argc > 1 ? atoi(argv[1]) : rounds;
    Py_Initialize();
    sem_init(&ready, 0, 0);
    for (int i = 0; i < THREADS; i++) {
        ring[i] = PyChannel_New(NULL);
        if (ring[i] == NULL) {
            return 1;
        }
    }
    /* Main is the last link: it receives what the last worker sends it. */
    for (int i = 1; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, worker, &ring[i]);
    }
    /* As long as no other thread is known to the interpreter, to wait for one is a deadlock. */
    Py_BEGIN_ALLOW_THREADS
    for (int i = 1; i < THREADS; i++) {
        sem_wait(&ready);
    }
    Py_END_ALLOW_THREADS
    int err = 0;
    PyObject *value = PyLong_FromLong(0);
    for (int round = 0; round < rounds && err == 0; round++) {
        err = PyChannel_Send(ring[1], value);
        Py_DECREF(value);
        value = err == 0 ? PyChannel_Receive(ring[0]) : NULL;
        err = value == NULL ? -1 : 0;
    }
    if (err < 0) {
        PyErr_Print();
        return 1;
    }
    printf("%ld\n", PyLong_AsLong(value));
    Py_DECREF(value);
    Py_BEGIN_ALLOW_THREADS
    for (int i = 1; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    Py_END_ALLOW_THREADS
    for (int i = 0; i < THREADS; i++) {
        Py_DECREF((PyObject *)ring[i]);
    }
    return Py_FinalizeEx() < 0;
}
