/* A context of cstack_test.c that is left wherever C++ handles or throws exceptions. */

#include <cstdio>
#include <cstdlib>
#include <exception>

#define CHECK(condition) \
    ((condition) ? (void)0 \
     : (std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition), \
        std::exit(1)))

namespace {

typedef void (*leave_function)();

/* The number that `throw;` throws now. */
int rethrown()
{
    try {
        throw;
    }
    catch (int number) {
        return number;
    }
}

int current()
{
    try {
        std::rethrow_exception(std::current_exception());
    }
    catch (int number) {
        return number;
    }
}

/* Leaves in the middle of a throw. */
struct Leaving {
    leave_function leave;
    ~Leaving()
    {
        CHECK(std::uncaught_exceptions() == 1);
        leave();
        CHECK(std::uncaught_exceptions() == 1);
    }
};

}

extern "C" void body(int number, leave_function leave)
{
    CHECK(!std::current_exception() && std::uncaught_exceptions() == 0);
    try {
        Leaving leaving = {leave};
        throw number;
    }
    catch (const int &caught) {
        CHECK(std::uncaught_exceptions() == 0);
        leave();
        CHECK(caught == number && rethrown() == number && current() == number);
        try {
            leave();
            throw number + 10000;
        }
        catch (const int &inner) {
            leave();
            CHECK(inner == number + 10000 && rethrown() == inner && current() == inner);
        }
        leave();
        CHECK(rethrown() == number && current() == number);
    }
    CHECK(!std::current_exception() && std::uncaught_exceptions() == 0);
    leave();
    CHECK(!std::current_exception() && std::uncaught_exceptions() == 0);
}
